"""Invite codes as QR codes."""

from __future__ import annotations


def qr_rows(code: str) -> list[str]:
    """The modules of a QR code that holds `code` in capitals, row by row: `1` is dark. There is no
    margin.
    """
    import segno  # noqa: PLC0415 - for the few who ask

    # The lowest level of correction: a screen has no dirt on it, and fewer modules are larger.
    # Capitals and digits take a third less room than other characters.
    picture = segno.make_qr(code.upper(), error="l", boost_error=False)
    return ["".join("1" if module else "0" for module in row) for row in picture.matrix]
