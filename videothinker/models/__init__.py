"""Checkpoints, and what a model is, whoever asks or trains it."""
