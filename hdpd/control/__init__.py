"""The control interface: JSON-RPC over HTTP and WebSocket, who may use it, and events.

Begin with `methods.py`, the one table of methods, and `server.py`, which is started. What clients
are promised is in `results.py`; docs/rpc.md and the OpenRPC document are made from these.
"""

FACE = (
    "daemon.Daemon",
    "events.Events",
    "eventtypes.Stopping",
    "server.Control",
    "services.Services",
    "tls.CertificateFiles",
)
