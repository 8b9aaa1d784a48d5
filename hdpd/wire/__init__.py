"""What peers say to each other: paths, messages and their strict CBOR codec. Pure.

Begin with `messages.py`.
"""

FACE = (
    "codec",
    "fields",
    "messages",
    "paths",
)
