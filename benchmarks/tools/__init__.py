"""Ten checks of exactness that any unlearning tool can be put through."""
