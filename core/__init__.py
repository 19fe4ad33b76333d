"""What is true: models, methods, jobs, measurements and reports, without Qt and without torch."""
