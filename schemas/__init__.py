"""What congener writes down: card and policy models, Arrow schemas, digests, errors. Knows no other package of the project."""
