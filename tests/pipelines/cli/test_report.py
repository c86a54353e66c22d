"""`congener report`: it writes a page and prints its path and the path of its table."""

from pathlib import Path


def test_a_page_is_written(congener, congener_json, run):
    """The page's path is printed first, then the table's, both as text and as JSON."""
    folder = str(run[0])
    code, out, err = congener("report", folder)
    assert code == 0, err
    first, second = out.splitlines()
    page, table = Path(first), Path(folder) / "report" / "rates.parquet"
    assert second.startswith(f"{table}: how often each trait fired, by teacher, lot and source")
    assert table.exists()
    assert page == Path(folder) / "report" / "index.html"
    assert "heron" in page.read_text(encoding="utf-8")
    assert congener_json("report", folder) == {
        "report": str(page),
        "rates": str(table),
        "pairs": None,
    }


def test_a_run_that_does_not_exist_exits_with_four(congener):
    """A missing folder gives exit code 4."""
    code, _, err = congener("report", "nowhere")
    assert code == 4
    assert "nowhere" in err
