"""The model that answers: ensembles, predictions, distances between models."""
