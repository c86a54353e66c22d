"""The Flex Template's entry point; it defines nothing itself, so Beam has nothing to pickle."""

from pipelines.cli.flex_template import run_template

run_template()
