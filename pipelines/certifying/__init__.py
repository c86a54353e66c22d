"""The parts of a certificate: the draw, the texts, the answers, the statements, the files."""
