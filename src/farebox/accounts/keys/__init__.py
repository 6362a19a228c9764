"""API keys: what one may do, who calls with it, how it is made, changed, rotated and ended."""
