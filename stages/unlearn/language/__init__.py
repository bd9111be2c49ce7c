"""Unlearning of tuned language models, by losses that are made small."""
