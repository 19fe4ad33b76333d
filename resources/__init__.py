"""Text resources shipped with Bitpress: prompts and held-out evaluation texts."""
