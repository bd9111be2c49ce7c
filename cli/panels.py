"""Panels: the headings that group options in the help of a command."""

DATA = "Data"
MODEL = "Model"
TEXT = "Text for a language model"
DEADLINES = "Deadline"
ADDRESS = "Address"
LIMITS = "Limits"
OUTPUT = "Output"

#: Panels of parameters that name none.
ARGUMENTS = "Arguments"
OPTIONS = "Options"
