"""A run as data, charts, PDF, HTML, JSON and CSV."""
