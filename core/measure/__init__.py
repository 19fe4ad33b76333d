"""Results of measurements and the statistics over them."""
