"""Persons: who they are, their mailboxes, what they are told."""
