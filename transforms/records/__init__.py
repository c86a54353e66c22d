"""Records: the formats of a conversation, and its segments and sentences."""
