"""Run directories: the lock, unfinished and finished runs, queries, publication, the cache."""
