"""Output for people: progress, terminal tables, record excerpts and page templates."""
