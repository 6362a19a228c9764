"""The charging rules in plain words, by version."""
