"""Everything that scores text, without Beam: models, signals, banks and the trait library."""
