"""Files and stores: the survey of a corpus, its cut into shards, and the reading of their rows."""
