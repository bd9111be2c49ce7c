"""What `unlearn init` finds out about a dataset's files and columns."""
