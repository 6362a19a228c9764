"""The management API: what operators' programs read, and do or propose."""
