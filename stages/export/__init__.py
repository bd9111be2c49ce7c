"""Export of language models: what it writes, measures and says."""
