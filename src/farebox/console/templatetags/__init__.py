"""Filters and tags of the customer's console."""
