"""Receipts: signed statements about a request that anyone can check with a public key."""
