"""Everything that scores text: models, signals, banks and the library of traits, without Beam."""
