"""What is measured of models: utility, memorisation, relearning."""
