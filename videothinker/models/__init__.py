"""Checkpoints and models: what asking, training and pretraining share."""
