"""Addresses of the operator's office."""

from __future__ import annotations

urlpatterns: list[object] = []
