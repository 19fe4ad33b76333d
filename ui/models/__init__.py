"""Qt item models over tuples of core values."""
