"""Where a Flex Template starts: everything else is in the package, so that nothing here has to be pickled."""

from pipelines.engines.dataflow import template_main

template_main()
