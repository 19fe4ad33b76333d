"""Widgets that show one kind of thing."""
