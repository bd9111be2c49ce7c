"""Membership inference: attacks, their scores and their statistics."""
