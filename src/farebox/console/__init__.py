"""The customer's rooms (pages)."""
