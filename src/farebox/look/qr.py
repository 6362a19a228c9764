"""A QR code drawn on the server: an SVG without styles, black on white in both themes."""

from __future__ import annotations

import qrcode  # type: ignore[import-untyped]
from django.utils.html import format_html
from django.utils.safestring import SafeString

_BORDER = 4


def svg(text: str, label: str) -> SafeString:
    """The code of `text`; `label` says what it is to who can't see it."""
    code = qrcode.QRCode(error_correction=qrcode.constants.ERROR_CORRECT_M, border=_BORDER)
    code.add_data(text)
    code.make(fit=True)
    matrix = code.get_matrix()
    path = "".join(f"M{x} {y}h1v1h-1z" for y, row in enumerate(matrix) for x, dark in enumerate(row) if dark)
    return format_html(
        '<svg class="qr" viewBox="0 0 {} {}" role="img" aria-label="{}" shape-rendering="crispEdges">'
        '<rect width="100%" height="100%"/><path d="{}"/></svg>',
        len(matrix),
        len(matrix),
        label,
        path,
    )
