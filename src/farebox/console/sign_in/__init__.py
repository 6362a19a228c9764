"""Signing up and in: the pages, allauth's hooks and forms, mailed codes, second factors, other services."""
