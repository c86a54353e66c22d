"""The digest key that tests share."""

KEY = b"0123456789abcdef0123456789abcdef"
