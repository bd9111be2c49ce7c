"""The project as a folder on disk: paths, whole-file writes, locks, timings, user code."""
