"""DVC: its command, its lock file, its pipeline, its checkouts."""
