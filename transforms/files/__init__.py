"""Files and stores: surveying a corpus, cutting it into shards, and reading their rows."""
