"""Finding people by hashes of their contact data."""
