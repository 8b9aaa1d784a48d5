"""What peers say to each other: paths, messages and their strict CBOR codec. Pure."""

FACE = (
    "codec",
    "fields",
    "messages",
    "paths",
)
