"""Weights as tables of values: how sensitive each weight is, and which values stand for a row."""
