"""`unlearn init`: a project for a dataset."""
