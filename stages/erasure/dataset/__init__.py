"""Dropping rows from the dataset's own files, and the nonce that its md5 is protected by."""
