"""Looking after what runs and what is kept: activity, disk, leftovers, the machine."""
