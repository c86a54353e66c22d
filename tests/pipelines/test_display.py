"""Tables on a terminal."""

import io

from rich.console import Console

from pipelines.display import tabulated


def test_first_columns_are_never_folded():
    """Names stay whole on a narrow terminal, whatever is cut elsewhere; numbers are aligned to the right."""
    table = tabulated("id", "what", "count>")
    table.add_row("a-rather-long-identifier", "words " * 20, "7")
    console = Console(file=io.StringIO(), width=60)
    console.print(table)
    shown = console.file.getvalue()
    assert "a-rather-long-identifier" in shown
    assert any(line.rstrip().endswith("7") for line in shown.splitlines())
