"""Files of rows: their formats, their columns, and the values in them as tables of Arrow."""
