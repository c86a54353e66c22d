"""What can score text: encoders, exemplar search, heads, sequence classifiers, lexicons, calibration, the quirk library. No Beam."""
