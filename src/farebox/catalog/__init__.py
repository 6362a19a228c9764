"""What we sell and for how much."""
