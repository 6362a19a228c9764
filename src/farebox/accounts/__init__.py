"""Who buys: accounts, persons, projects, API keys."""
