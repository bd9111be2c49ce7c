"""Tests of what language models share."""
