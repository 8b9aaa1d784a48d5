"""The one function that decides which spellings of a name a search treats as equal. Pure."""

from __future__ import annotations

import unicodedata

FOLDING = f"1 {unicodedata.unidata_version}"
"""Changes whenever `fold` may answer differently; the search tables are then made anew."""

_FIRST_MARK = "\u0300"  # no character before it is a mark, and most characters are before it


def fold(text: str) -> str:
    """`text` without case, accents and compatibility forms: `Björk` and `BJÖRK` both give `bjork`.

    Folding a concatenation is concatenating what was folded, so a part of a name is found in it.
    """
    if text.isascii():
        return text.lower()
    # Some compatibility forms (such as the trade mark sign) decompose into capital letters, so the
    # case is folded once more after decomposing.
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return "".join(
        [
            char
            for char in unicodedata.normalize("NFKD", decomposed)
            if char < _FIRST_MARK or unicodedata.category(char)[0] != "M"
        ]
    )
