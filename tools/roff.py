"""The little Markdown that docs/man/ uses, as man(7)."""

from __future__ import annotations

import re
from collections.abc import Iterable


def escape(text: str) -> str:
    """Text as roff shows it unchanged; a hyphen is one that can be copied."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^([.'])", r"\\&\1", text)


def inline(text: str) -> str:
    """Escaped, with `code` in bold."""
    pieces = text.split("`")
    return "".join(
        f"\\fB{escape(piece)}\\fP" if number % 2 else escape(piece)
        for number, piece in enumerate(pieces)
    )


def item(term: str, *paragraphs: str) -> str:
    """A tagged paragraph; the term is Markdown, too."""
    first, *rest = paragraphs or ("",)
    return "\n".join([".TP", inline(term), inline(first), *(f".IP\n{inline(p)}" for p in rest)])


def page(name: str, section: int, summary: str, parts: Iterable[str]) -> str:
    """A whole page."""
    head = f'.TH {escape(name.upper())} {section} "" hdpd "hdpd manual"\n.SH NAME\n'
    return head + f"{escape(name)} \\- {escape(summary)}\n" + "\n".join(parts) + "\n"


def from_markdown(text: str, values: dict[str, str]) -> str:
    """Headings, paragraphs, definitions (`: ` below a term), indented examples; a paragraph
    `@NAME@` is the roff of that name in `values`.
    """
    return "\n".join(_block(block, values) for block in re.split(r"\n{2,}", text.strip("\n")))


def _block(block: str, values: dict[str, str]) -> str:
    if block.startswith("# "):
        return f".SH {escape(block[2:])}"
    if match := re.fullmatch(r"@([A-Z]+)@", block.strip()):
        return values[match[1]]
    if block.startswith("    "):
        lines = (escape(line[4:]) for line in block.splitlines())
        return "\n".join([".PP", ".RS 4", ".nf", *lines, ".fi", ".RE"])
    term, separator, definition = block.partition("\n: ")
    if separator:
        return item(term, " ".join(definition.split()))
    return f".PP\n{inline(' '.join(block.split()))}"
