"""Everything that scores text: models, signals, banks, the library of traits. No Beam."""
