"""The simulator: production code over simulated ports, seeded, in virtual time."""
