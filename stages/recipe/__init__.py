"""The `recipe` stage: the settings that all models are trained with, in one file."""
