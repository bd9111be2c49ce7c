"""What two final models together give away about the rows that only one was trained on."""
