"""The order in which people expect names: `Episode 2` before `Episode 10`. Pure.

An index of the database is made of what this says (hdpd/database/schema/index), so a change here
needs a step there.
"""

from __future__ import annotations

import re

_NUMBER = re.compile("[0-9]+")


def natural(text: str) -> str:
    """What to sort `text` by, as text.

    Each number begins with how many digits it has, so that longer ones come later. Leading zeros
    do not count; names that differ in them only have the same key.
    """
    return _NUMBER.sub(_with_length, text)


def _with_length(number: re.Match[str]) -> str:
    digits = number[0].lstrip("0")
    length = len(digits)
    return f"{length}{digits}" if length < 9 else f"9{length:04}{digits}"
