"""Everything that scores text: models, signals, banks and the trait library, without Beam."""
