"""GPTQT-style compression: weights on a fine integer grid, written in few binary coefficients a row."""
