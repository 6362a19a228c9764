"""The demo: a filled shop to try out."""
