"""The authenticated link to other peers: QUIC over one UDP port.

Bytes travel `sockets` -> `endpoint` -> `connection` (with its `engine`) -> `stream`; `session` is
what the rest of hdpd sees. `demux`, `knock`, `paths` and `hello` are the brain and do no I/O.
"""
