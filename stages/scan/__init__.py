"""The residue scan: a search for what should be nowhere any more, in every file."""
