"""Data that ships with the application: prompts, texts, presets, templates, icons."""
