"""The operator's rooms (pages)."""
