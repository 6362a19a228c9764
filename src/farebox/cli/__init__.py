"""Commands: what an operator does at a terminal, and the socket by which a running server does it."""
