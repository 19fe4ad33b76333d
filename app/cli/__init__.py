"""The command line: the same engine as the window, for scripts and for proof."""
