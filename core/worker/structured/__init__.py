"""Pruning that makes a model smaller: decoder blocks, MLP channels and attention heads taken out of it."""
