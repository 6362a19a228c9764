"""Pages of a person's settings: profile, notices, sessions, their data, closing the account."""
