"""The files that `unlearn init` makes, as bytes."""
