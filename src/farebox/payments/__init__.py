"""How money comes in and goes back."""
