"""The catalogue of compression methods, one file per family."""
