"""What the examples of `unlearn init --example` are made of."""
