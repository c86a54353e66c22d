"""The entry of a Flex Template: everything else is in the package, so that nothing is pickled."""

from pipelines.cli.flex_template import run_template

run_template()
