"""The parts of `congener lineage`: the answers of each model, its findings and its page."""
