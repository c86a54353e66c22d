"""The papers that `congener export` writes from a run's manifest and ledger."""
