"""The control page: the files of hdpd/web, each under an address that changes with its content.

All assets share one hash, in the directory part of their address, so that modules can import each
other by relative names and browsers may keep them for ever. Every address is relative to that of
the page, which a proxy may have put below a path.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from hdpd.errors import NotFound

DIRECTORY = Path(__file__).parents[1] / "web"
HASH_CHARS = 16

# Nothing inline and nothing from elsewhere; text never becomes markup, even by a mistake of ours.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
FOR_EVER = "public, max-age=31536000, immutable"

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Page:
    """The page and its assets, held in memory: together they are less than 200 KB."""

    def __init__(self, directory: Path = DIRECTORY) -> None:
        self._assets = {
            path.relative_to(directory).as_posix(): path.read_bytes()
            for path in sorted(directory.rglob("*"))
            if path.suffix in _TYPES
        }
        digest = hashlib.sha256()
        for name, content in self._assets.items():
            digest.update(b"%s\0%d\0%s" % (name.encode(), len(content), content))
        self.version = digest.hexdigest()[:HASH_CHARS]
        index = (directory / "index.html").read_text()
        self._index = index.replace('"assets/', f'"assets/{self.version}/').encode()
        self._tag = f'"{hashlib.sha256(self._index).hexdigest()[:HASH_CHARS]}"'

    def index(self, request: Request) -> Response:
        """The page itself, asked for anew each time."""
        headers = {**HEADERS, "Cache-Control": "no-cache", "ETag": self._tag}
        if request.headers.get("if-none-match") == self._tag:
            return Response(status_code=304, headers=headers)
        return Response(self._index, headers=headers, media_type="text/html")

    def asset(self, version: str, name: str) -> Response:
        """A file of the page.

        Raises:
            NotFound: there is none of that name, or it is of another version of the page.
        """
        content = self._assets.get(name)
        if content is None or version != self.version:
            raise NotFound("there is no such file in this version of the page")
        media_type = _TYPES[name[name.rindex(".") :]]
        headers = {**HEADERS, "Cache-Control": FOR_EVER, "Content-Type": media_type}
        return Response(content, headers=headers)
