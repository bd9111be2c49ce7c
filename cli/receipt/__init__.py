"""`unlearn receipt`: signed statements about requests."""
