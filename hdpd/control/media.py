"""What a browser may show of other people's files, by the endings of their names. Pure.

Everything else is a download: HTML and SVG can hold scripts, and no file is worth a guess. What is
shown is in a sandbox all the same.
"""

from __future__ import annotations

OCTETS = "application/octet-stream"

_TEXT = (
    "txt md log nfo srt sub vtt csv tsv json xml yaml yml toml ini conf cue m3u m3u8 diff patch "
    "sh py js css c h rs go java"
)
_SHOWN = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "oga": "audio/ogg",
    "opus": "audio/ogg",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "wav": "audio/wav",
    "mp4": "video/mp4",
    "m4v": "video/mp4",
    "mkv": "video/x-matroska",
    "webm": "video/webm",
    "mov": "video/quicktime",
    "ogv": "video/ogg",
    **dict.fromkeys(_TEXT.split(), "text/plain; charset=utf-8"),
}


def media_type(name: str) -> str | None:
    """The content type to show a file of that name with; None when it must be a download."""
    _stem, dot, ending = name.rpartition(".")
    return _SHOWN.get(ending.lower()) if dot else None
