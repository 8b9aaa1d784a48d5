"""The authenticated link to other peers: QUIC over one UDP port. Begin with `session.py`.

Bytes travel `sockets` -> `endpoint` -> `connection` (with its `engine`) -> `stream`; `session` is
what the rest of hdpd sees. `demux`, `knock`, `paths` and `hello` are the brain and do no I/O.
"""

FACE = (
    "connection.Connection",
    "connection.Path",
    "endpoint.Endpoint",
    "hello.MAX_TOPICS",
    "interfaces.InterfaceAddress",
    "interfaces.interface_addresses",
    "selection",
    "session.Handlers",
    "session.Session",
    "session.Surroundings",
    "session.accept_hello",
    "session.dial_hello",
    "sockets.UdpSocket",
    "sockets.bound_socket",
    "stream.Stream",
)
