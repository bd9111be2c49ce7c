"""Post-hoc methods for language models."""
