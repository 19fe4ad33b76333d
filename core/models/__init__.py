"""Local models: found, read and imported without loading them."""
