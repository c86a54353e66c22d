"""Lineage: from which of several teachers a model's habits come, judged by its answers alone."""
