"""Output for people: progress, terminal tables, excerpts of records, page templates."""
