"""What the machine did while a job ran."""
