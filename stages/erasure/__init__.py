"""Erasure: every copy of forgotten rows, and of models that were trained on them, is deleted."""
