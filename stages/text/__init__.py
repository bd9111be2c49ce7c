"""What language models need: encoding, scoring, generation, losses, metrics."""
