"""What somebody searches for: a text cut into folded words, and search terms of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

from hdpd.errors import InvalidParams
from hdpd.shares.fold import fold

MAX_WORDS = 12  # sets of matched words are bit masks, and each word may cost a look-up
TRIGRAM = 3  # the characters that the search tables are made of
_NOT_ASCII = "length(name)<>octet_length(name)"
MAX_TRIGRAMS = 24  # of one word; what more would exclude, the verification does


class Query(Struct, frozen=True):
    """The distinct folded words, all of which must match."""

    words: tuple[str, ...]

    @property
    def all_bits(self) -> int:
        """The mask with one bit for each word."""
        return (1 << len(self.words)) - 1

    def bits_in(self, folded_name: str) -> int:
        """The mask of the words that the folded name holds."""
        bits = 0
        for number, word in enumerate(self.words):
            if word in folded_name:
                bits |= 1 << number
        return bits

    def words_of(self, bits: int) -> list[str]:
        """The words of a mask."""
        return [word for number, word in enumerate(self.words) if bits >> number & 1]


def parse_query(text: str) -> Query:
    """The query that `text` spells; words are split at white space.

    Raises:
        InvalidParams: no word, too many words, or characters that no name can hold.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidParams("the search text is not valid Unicode") from None
    if "\0" in text:
        raise InvalidParams("the search text holds a NUL character, which no name can")
    words = tuple(dict.fromkeys(fold(text).split()))
    if not words:
        raise InvalidParams("the search text holds no word to search for")
    if len(words) > MAX_WORDS:
        raise InvalidParams(f"the search text holds more than {MAX_WORDS} words")
    return Query(words)


def match_expression(words: Iterable[str]) -> str | None:
    """An FTS5 expression that every name with all `words` matches, and some others too.

    None when no word is long enough to have a trigram.
    """
    trigrams = dict.fromkeys(trigram for word in words for trigram in _trigrams(word))
    return " AND ".join('"' + trigram.replace('"', '""') + '"' for trigram in trigrams) or None


def like_condition(words: Iterable[str]) -> tuple[str, list[str]]:
    """An SQL condition on the column `name`, with its parameters, that every name with all `words`
    meets, and some others too, for words without trigrams: a name in ASCII is folded as LIKE does,
    any other has to be looked at.
    """
    conditions, parameters = [], []
    for word in words:
        if word.isascii():
            conditions.append(rf"(name LIKE ? ESCAPE '\' OR {_NOT_ASCII})")
            parameters.append("%" + re.sub(r"([\\%_])", r"\\\1", word) + "%")
        else:
            conditions.append(_NOT_ASCII)
    return " AND ".join(conditions), parameters


def _trigrams(word: str) -> list[str]:
    last = len(word) - TRIGRAM
    return [word[at : at + TRIGRAM] for at in range(min(last + 1, MAX_TRIGRAMS))]
