"""The Flex Template's entry point; all other code is in the package, so nothing is pickled."""

from pipelines.cli.flex_template import run_template

run_template()
