"""The addresses of this machine's network interfaces, and what can be reached without a router."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from dataclasses import dataclass

import ifaddr

_SIOCGIFMTU = 0x8921  # linux/sockios.h
_DEFAULT_MTU = 1500
_HEADER_BYTES = {4: 28, 6: 48}  # of IP and UDP together


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """One address of one interface. `host` has no zone."""

    interface: str
    host: str
    prefix: int
    mtu: int

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        return ipaddress.ip_address(self.host)

    @property
    def network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        return ipaddress.ip_network(f"{self.host}/{self.prefix}", strict=False)


def interface_addresses() -> tuple[InterfaceAddress, ...]:
    """All unicast addresses of all interfaces, loopback and link-local ones too."""
    found = []
    for adapter in ifaddr.get_adapters():
        mtu = _mtu(adapter.name)
        for ip in adapter.ips:
            host = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            found.append(InterfaceAddress(adapter.name, host, ip.network_prefix, mtu))
    return tuple(sorted(found, key=lambda address: (address.interface, address.host)))


def _mtu(interface: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sI12x", interface.encode()[:15], 0)
        try:
            answer = fcntl.ioctl(probe.fileno(), _SIOCGIFMTU, request)
        except OSError:
            return _DEFAULT_MTU
    mtu: int = struct.unpack("16sI12x", answer)[1]
    return mtu


def is_own(host: str, addresses: tuple[InterfaceAddress, ...]) -> bool:
    """Whether `host` is an address of this machine, which is reached by the loopback interface."""
    ip = ipaddress.ip_address(host.partition("%")[0])
    return any(ip == address.ip for address in addresses)


def on_link_payload_bytes(host: str, addresses: tuple[InterfaceAddress, ...]) -> int | None:
    """How large a UDP payload the direct link to `host` carries; None behind a router."""
    ip = ipaddress.ip_address(host.partition("%")[0])
    if is_own(host, addresses):
        mtu = next((address.mtu for address in addresses if address.ip.is_loopback), _DEFAULT_MTU)
        return mtu - _HEADER_BYTES[ip.version]
    for address in addresses:
        network = address.network
        if ip.version == network.version and ip in network:
            return address.mtu - _HEADER_BYTES[ip.version]
    return None
