"""Farebox: sell metered access to LLM APIs, prepaid, to the cent."""

__version__ = "0.1.0"
