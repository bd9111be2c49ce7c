"""`unlearn stage`: a module for each stage, of which a process runs one."""
