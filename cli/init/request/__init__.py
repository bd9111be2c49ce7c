"""What the user asks for: the options of `unlearn init`, and their values."""
