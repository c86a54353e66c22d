"""The parts of an audit: its two corpora, its passes over them, its findings, files and page."""
