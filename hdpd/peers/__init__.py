"""The other peers: which are known, which are connected, and how it comes to that.

Begin with `states.py`, what a peer goes through, and `peer.py`, which owns all about one;
`meeting.py` brings together what finds, dials and opens ways.
"""

FACE = (
    "fixed.FixedAddresses",
    "peers.Peers",
    "record_numbers.RecordNumbers",
    "status",
    "topics.TopicJoined",
    "topics.TopicLeft",
    "topics.Topics",
)
