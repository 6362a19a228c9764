"""Who runs a command."""

from __future__ import annotations

import getpass
import os


def actor() -> str:
    """Who runs this command, as the audit trail names them: `cli:<user>`, the machine's administrator (I27)."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return f"cli:uid {os.getuid()}"
