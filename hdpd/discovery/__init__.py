"""Finding peers by MQTT and mDNS: it says who is where and never dials.

Begin with `discovery.py`; what is told is a record (`records.py`), sealed for a topic.
"""

FACE = (
    "discovery.Discovery",
    "discovery.Found",
    "records",
    "status",
)
