"""One file per page of the window: what its signals do, and what it is shown."""
