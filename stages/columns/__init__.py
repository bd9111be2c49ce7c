"""What `init` finds out about the columns of a dataset, to pin its schema."""
