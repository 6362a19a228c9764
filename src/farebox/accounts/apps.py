"""What is done once when the shop starts."""

from __future__ import annotations

from django.apps import AppConfig


class Accounts(AppConfig):
    """Persons and accounts."""

    name = "farebox.accounts"

    def ready(self) -> None:
        """Second factors are kept our way."""
        from .sign_in import sealed_factors  # noqa: PLC0415 - needs the settings

        sealed_factors.install()
