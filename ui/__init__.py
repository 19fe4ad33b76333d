"""What is seen: pages, forms, widgets, item models and the theme."""
