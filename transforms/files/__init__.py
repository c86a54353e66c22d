"""Files and stores: what a corpus consists of, how it is cut into shards, and how a shard's rows are read."""
