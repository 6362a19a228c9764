"""Migrations of ledger."""
