"""Composition root, command line and user actions: binds ui to core."""
