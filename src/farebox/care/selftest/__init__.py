"""`farebox selftest`: the operator's proof after an upgrade, on a scratch store that is thrown away.

Replays vendors' streams, races for the last money, kills the server under load, restores a backup. The real store is
never opened: everything that needs one runs in processes of its own, on a temporary data folder.
"""
