"""The report's charts, each subject in a file of its own, drawn by matplotlib and written as SVG."""
