"""Signing in: sessions, factors, links, sign-up, operators and their tokens."""
