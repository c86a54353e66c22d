"""Records: the formats of conversations, and their segments and sentences."""
