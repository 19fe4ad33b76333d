"""Where calibration text comes from, how it is read and rendered."""
