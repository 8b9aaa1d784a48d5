"""The control interface: JSON-RPC over HTTP and WebSocket, who may use it, and events.

`server.Control` is the entry; `events.Events` can be made before anything else. The one table of
methods is in methods.py; docs/rpc.md and the OpenRPC document are made from it.
"""

FACE = (
    "events.Events",
    "eventtypes.Stopping",
    "server.Control",
    "services",
    "tls.CertificateFiles",
)
