"""Models that follow from the key and the set of their rows, and can be changed row by row."""
