"""Checks that models are those of the rows without the forgotten ones."""
