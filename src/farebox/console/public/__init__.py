"""Public pages: home page, guide, status, terms, privacy, security.txt."""
