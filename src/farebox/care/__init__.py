"""The care of a store: setting up, examining, backing up, restoring, changing its keys."""
