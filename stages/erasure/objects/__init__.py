"""Which objects of DVC an erasure deletes, and deleting them in the cache and in remotes."""
