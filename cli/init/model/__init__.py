"""The model of a new project: which one, and what is pinned for it."""
