"""What a person sees: progress, terminal tables, excerpts of records, page templates."""
