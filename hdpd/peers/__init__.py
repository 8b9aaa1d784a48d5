"""The other peers: which are known, which are connected, and how it comes to that."""

FACE = (
    "peers.Peers",
    "record_numbers.RecordNumbers",
    "status",
    "topics.TopicJoined",
    "topics.TopicLeft",
    "topics.Topics",
)
