"""The roof: puts the rooms together (settings, start and drain)."""
