"""Rows and who they are about: tokens, records, shard files, the forget list."""
