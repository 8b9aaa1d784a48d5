"""Finding peers by MQTT and mDNS: it says who is where and never dials."""

FACE = (
    "discovery.Discovery",
    "discovery.Found",
    "records",
    "status",
)
