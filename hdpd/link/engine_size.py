"""Changing the size of datagrams of a connection that stands, which neither library offers.

What is private here is named once, and tests/link/test_engine.py fails when it moves.
"""

from __future__ import annotations

from typing import Any

_TRANSPORT_PARAMETERS = 0x39  # TLS extension, RFC 9001 section 8.2


def set_of_aioquic(connection: Any, size: int) -> None:
    """Makes datagrams of up to `size` bytes from now on, as far as the peer takes them."""
    from aioquic._buffer import Buffer
    from aioquic.quic.packet import pull_quic_transport_parameters

    for kind, data in connection.tls.received_extensions:
        if kind == _TRANSPORT_PARAMETERS:
            announced = pull_quic_transport_parameters(Buffer(data=data)).max_udp_payload_size
            size = min(size, announced or size)
    connection._max_datagram_size = size


def size_of_qh3(connection: Any, default: int) -> int:
    """How large datagrams are now; `default` before the first."""
    core = connection._core
    return default if core is None else int(core.active_path[-1])


def lower_of_qh3(connection: Any, size: int) -> None:
    """As if the peer said again what it takes, and less: all other limits are as they were, and
    only ever rise.
    """
    told = connection._applied_transport_parameters
    connection._core.apply_peer_transport_parameters(
        told.initial_max_data or 0,
        told.initial_max_stream_data_bidi_local or 0,
        told.initial_max_stream_data_bidi_remote or 0,
        told.initial_max_stream_data_uni or 0,
        told.initial_max_streams_bidi or 0,
        told.initial_max_streams_uni or 0,
        3 if told.ack_delay_exponent is None else told.ack_delay_exponent,
        0.025 if told.max_ack_delay is None else told.max_ack_delay / 1000,
        told.max_idle_timeout / 1000 if told.max_idle_timeout else None,
        told.max_datagram_frame_size,
        told.stateless_reset_token,
        told.active_connection_id_limit or 2,
        bool(told.disable_active_migration),
        size,
    )
