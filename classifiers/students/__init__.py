"""Small students: tiny transformers that are trained from nothing to test what data passes on."""
