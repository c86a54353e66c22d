"""`congener traits thresholds`: its table and its JSON."""


def test_thresholds_have_a_table(congener, run):
    """The table marks the threshold in force, and says what its columns promise."""
    code, out, err = congener("traits", "thresholds", str(run[0]))
    assert code == 0, err
    assert "in force" in out
    assert "by hand" in out
    assert "not stated" in out
    assert "0 rows are up to 0.05 below" in out


def test_thresholds_in_json(congener_json, run):
    """The JSON has each threshold with its rows."""
    (trait,) = congener_json("traits", "thresholds", str(run[0]), "--trait", "heron")
    assert trait["near"] == {"rows": 0, "best": 0.0}
    current = next(item for item in trait["thresholds"] if item["is_in_force"])
    assert (current["threshold"], current["rows"], current["found"]) == (0.5, 8, None)


def test_an_unknown_trait_is_refused(congener, run):
    """The error names the run's traits."""
    code, _, err = congener("traits", "thresholds", str(run[0]), "--trait", "egret")
    assert code == 4
    assert "its traits are heron" in err
