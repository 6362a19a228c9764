"""The front door: one API call in, one answer out."""
