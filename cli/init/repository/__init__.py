"""How the files of a new project get into a folder, or into a repository that exists."""
