"""Damaged files are read, or refused with an error of this tool."""
