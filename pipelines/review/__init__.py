"""The review page: its index, its queries, its rows, its labels, its server and its files."""
