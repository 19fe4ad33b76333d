"""One file a chapter: each turns the report's data into blocks."""
