"""Tests of the residue scan."""
