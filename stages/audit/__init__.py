"""Comparing states of the pipeline, and the status of requests."""
