"""Who a peer is and what people meet at: keys, names, topics, invite codes. Pure, without I/O.

Begin with `keys.py`.
"""

FACE = (
    "addresses.check_port",
    "addresses.household_of",
    "addresses.parse_ip",
    "addresses.source_of",
    "contexts",
    "invites",
    "keys",
    "names.name_of",
    "topics.SECRET_BYTES",
    "topics.Topic",
    "topics.derive_master",
    "topics.is_guessable",
    "topics.new_name",
    "topics.normalise",
)
