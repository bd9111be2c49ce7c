"""Forget requests: from ids to lines on the list, and what they cost."""
