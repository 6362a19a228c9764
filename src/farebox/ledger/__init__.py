"""The books; knows no customer, only ledger accounts."""
