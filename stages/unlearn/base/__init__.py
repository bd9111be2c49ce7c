"""What post-hoc methods of both modalities share."""
