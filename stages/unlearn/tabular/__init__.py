"""Post-hoc methods for classifiers."""
