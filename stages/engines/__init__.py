"""Engines: where the shards of one run are trained, on this machine or on others."""
