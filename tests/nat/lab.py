"""A laboratory internet of network namespaces: routers with real kernel NAT, a broker, STUN.

Everything is inside namespaces of its own, made and removed by `Internet`; needs root. The "core"
routes between all sites and runs the broker and the STUN servers. A site is a home: a router with
a NAT of some kind (see `SITES`) and hosts on its LAN. Nothing leaves the machine.

    with Internet(directory) as internet:
        home, office = internet.site("easy"), internet.site("hard")
        a = internet.daemon(home.host())
        b = internet.daemon(office.host())
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.e2e.harness import Daemon
from tests.nat.slow_line import DEVICE as SLOW_LINE
from tests.waiting import wait_for

PROGRAMS = ("ip", "nft", "mosquitto")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
BROKER_PORT = 1883
READY_S = 60.0
# Two operators, each with an IPv4 and an IPv6 address; documentation addresses (RFC 5737, 3849).
BROKER = "203.0.113.1"
BROKER_V6 = "2001:db8:ffff::1"
STUN = ("203.0.113.2", "203.0.113.3")
STUN_V6 = ("2001:db8:ffff::2", "2001:db8:ffff::3")

_numbers = itertools.count()


def missing() -> str | None:
    """Why the laboratory cannot be used here, for the reason of a skipped test; None if it can."""
    if os.geteuid() != 0:
        return "needs root to make network namespaces; run `sudo make test-nat`"
    for program in PROGRAMS:
        if program_path(program) is None:
            return f"needs {program}; run `sudo make test-nat`, which installs it"
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        return "this kernel or container gives out no network namespaces"
    return None


def program_path(name: str) -> str | None:
    """Where a program is, or None; those of root are found by others as well."""
    return shutil.which(name, path=PATH)


def run(*command: str, input: str | None = None, check: bool = True) -> str:  # noqa: A002
    """The output of a program; fails the test with what it said when it fails."""
    done = subprocess.run(
        command,
        input=input,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": PATH},
    )
    if check:
        assert done.returncode == 0, f"{' '.join(command)}:\n{input or ''}\n{done.stderr}"
    return done.stdout


class Namespace:
    """One machine of the laboratory."""

    def __init__(self, internet: Internet, label: str) -> None:
        self.label = label
        self.name = f"{internet.prefix}-{label}"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._log = internet.root / f"{label}.log"
        run("ip", "netns", "add", self.name)
        self.ip("link set lo up")
        # Addresses are ours to use at once: there is nobody else to collide with.
        self.sysctl("net.ipv6.conf.all.accept_dad", 0)
        self.sysctl("net.ipv6.conf.default.accept_dad", 0)

    def command(self, *program: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *program]

    def run(self, *program: str, check: bool = True) -> str:
        return run(*self.command(*program), check=check)

    def ip(self, arguments: str, *, check: bool = True) -> str:
        return run("ip", "-n", self.name, *arguments.split(), check=check)

    def nft(self, rules: str) -> None:
        run(*self.command("nft", "-f", "-"), input=rules)

    def sysctl(self, name: str, value: int) -> None:
        self.run("sh", "-c", f"echo {value} >/proc/sys/{name.replace('.', '/')}")

    def forward(self) -> None:
        """Makes it a router."""
        self.sysctl("net.ipv4.ip_forward", 1)
        self.sysctl("net.ipv6.conf.all.forwarding", 1)

    def spawn(self, *program: str) -> subprocess.Popen[bytes]:
        """Starts a program that runs until `close`."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                self.command(*program),
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": PATH, "PYTHONPATH": str(Path(__file__).parents[2])},
            )
        self._processes.append(process)
        return process

    def listens(self, port: int, kind: str = "udp") -> bool:
        table = self.run("ss", "-Hln", f"--{kind}")
        return re.search(rf":{port}\s", table) is not None

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait(10)
        run("ip", "netns", "del", self.name, check=False)


@dataclass(frozen=True)
class Kind:
    """A kind of site. `nat` is the rule by which its router rewrites (see `_NAT_RULES`), None for
    hosts that have public addresses; `mapping` are miniupnpd's protocols.
    """

    nat: str | None = "easy"
    carrier: str | None = None  # the NAT of the carrier in front of the router
    mapping: tuple[str, ...] = ()
    ipv4: bool = True
    ipv6: bool = False
    udp: bool = True


SITES = {
    "public": Kind(nat=None),
    "easy": Kind(),
    "hard": Kind(nat="hard"),
    "carrier": Kind(carrier="easy"),
    "hard-carrier": Kind(carrier="hard"),
    "carrier-pmp": Kind(carrier="easy", mapping=("natpmp",)),
    "upnp": Kind(mapping=("upnp",)),
    "pmp": Kind(mapping=("natpmp",)),
    "hard-mapped": Kind(nat="hard", mapping=("natpmp", "upnp")),
    "ipv6": Kind(ipv4=False, ipv6=True),
    "dual": Kind(nat="hard", ipv6=True),
    "dual-pmp": Kind(nat="hard", ipv6=True, mapping=("natpmp",)),
    "dual-upnp": Kind(nat="hard", ipv6=True, mapping=("upnp",)),
    "full-cone": Kind(nat="full-cone"),
    "restricted": Kind(nat="restricted"),
    "no-udp": Kind(udp=False),
}

# What a router's WAN side does to UDP from the LAN. A full cone hands everything to the one host
# behind it; a restricted one what comes from an address that the port in question has sent to.
_NAT_RULES = {
    "easy": ("masquerade", ""),
    "hard": ("masquerade random,fully-random", ""),
    "full-cone": ("masquerade", 'iifname "wan" meta l4proto udp dnat ip to 192.168.1.10'),
    "restricted": (
        "masquerade",
        'iifname "wan" ip saddr . udp dport @contacted dnat ip to 192.168.1.10',
    ),
}


class Site:
    """A home. Its hosts are 192.168.1.10, .11 and so on, which many homes have in common."""

    def __init__(
        self, internet: Internet, name: str, kind: Kind, neighbour: Site | None = None
    ) -> None:
        self.internet = internet
        self.kind = kind
        self.name = name
        self.number = next(internet.numbers)
        self._rebinds = 0
        self.router = internet.namespace(f"r{self.number}")
        self.carrier: Namespace | None = neighbour.carrier if neighbour else None
        self.customers: Iterator[int] = neighbour.customers if neighbour else itertools.count(2)
        self.public: str = neighbour.public if neighbour else internet.public_address(self)
        self.prefix6 = f"2001:db8:{self.number:x}:1"
        self._hosts = 0
        self.router.forward()
        self._connect()
        self.router.ip("link add lan type bridge")
        self.router.ip("link set lan up")
        if kind.ipv4 and kind.nat is not None:
            self.router.ip("addr add 192.168.1.1/24 dev lan")
        if kind.ipv6:
            self.router.ip(f"addr add {self.prefix6}::1/64 dev lan nodad")
        self.router.nft(self._firewall())
        if kind.mapping:
            self._start_miniupnpd()

    # Wires.

    def _connect(self) -> None:
        """Joins the router to the core, or to a carrier's NAT that is joined to the core."""
        internet, number = self.internet, self.number
        upstream, wan, gateway = internet.core, self.public, "203.0.113.1"
        if self.kind.carrier is not None:
            upstream = self.carrier = self.carrier or self._make_carrier(self.kind.carrier)
            # miniupnpd maps no ports on addresses of the range for carriers (RFC 6598).
            network = "11.64.0" if self.kind.mapping else "100.64.0"
            wan, gateway = f"{network}.{next(self.customers)}", "100.64.0.1"
            internet.wire(upstream, f"s{number}", self.router, "wan")
            upstream.ip(f"route add {wan}/32 dev s{number}")
        else:
            internet.wire(internet.core, f"s{number}", self.router, "wan")
            if self.kind.ipv4:
                internet.core.ip(f"route add {wan}/32 dev s{number}")
        self.wan = wan
        self.gateway = gateway
        if self.kind.ipv4:
            self._address_wan()
        if self.kind.ipv6:
            internet.core.ip(f"addr add fe80::1/64 dev s{number} nodad")
            self.router.ip("addr add fe80::2/64 dev wan nodad")
            internet.core.ip(f"-6 route add {self.prefix6}::/64 via fe80::2 dev s{number}")
            self.router.ip("-6 route add default via fe80::1 dev wan")

    def _make_carrier(self, nat: str) -> Namespace:
        internet, number = self.internet, self.number
        carrier = internet.namespace(f"c{number}")
        carrier.forward()
        internet.wire(internet.core, f"s{number}", carrier, "wan")
        internet.core.ip(f"route add {self.public}/32 dev s{number}")
        carrier.ip(f"addr add {self.public}/32 dev wan")
        carrier.ip("route add 203.0.113.1 dev wan")
        carrier.ip("route add default via 203.0.113.1")
        carrier.ip("addr add 100.64.0.1/32 dev lo")
        carrier.nft(_carrier_rules(nat))
        return carrier

    def _address_wan(self) -> None:
        self.router.ip(f"addr add {self.wan}/32 dev wan")
        self.router.ip(f"route add {self.gateway} dev wan")
        self.router.ip(f"route add default via {self.gateway}")

    def _firewall(self) -> str:
        udp = "" if self.kind.udp else 'meta l4proto udp oifname "wan" drop\n'
        # miniupnpd speaks PCP over IPv6 even where it was told not to.
        pcp = "" if "natpmp" in self.kind.mapping else "udp dport 5351 drop"
        # The chains of miniupnpd's are there also when it is not.
        return f"""
            table inet filter {{
                set contacted {{ type ipv4_addr . inet_service; flags dynamic; size 4096; }}
                chain miniupnpd {{ }}
                chain prerouting_miniupnpd {{ }}
                chain postrouting_miniupnpd {{ }}
                chain input {{
                    type filter hook input priority 0;
                    {pcp}
                }}
                chain forward {{
                    type filter hook forward priority 0; policy {self._policy};
                    {udp}
                    oifname "wan" update @contacted {{ ip daddr . udp sport }}
                    ct state established,related accept
                    ct status dnat accept
                    iifname "lan" accept
                    meta l4proto icmpv6 accept
                    jump miniupnpd
                }}
                chain prerouting {{
                    type nat hook prerouting priority dstnat;
                    jump prerouting_miniupnpd
                    {_NAT_RULES[self.kind.nat][1] if self.kind.nat else ""}
                }}
                chain postrouting {{
                    type nat hook postrouting priority srcnat;
                    jump postrouting_miniupnpd
                    {self._masquerade if self.kind.nat else ""}
                }}
            }}
        """

    @property
    def _policy(self) -> str:
        return "drop" if self.kind.nat else "accept"

    @property
    def _masquerade(self) -> str:
        assert self.kind.nat is not None
        return f'oifname "wan" meta nfproto ipv4 {_NAT_RULES[self.kind.nat][0]}'

    def _start_miniupnpd(self) -> None:
        program = program_path("miniupnpd")
        assert program, "miniupnpd is not installed"
        flags = {name: name in self.kind.mapping for name in ("natpmp", "upnp")}
        settings = [
            "ext_ifname=wan",
            "listening_ip=lan",
            *(f"enable_{name}={'yes' if on else 'no'}" for name, on in flags.items()),
            "http_port=0",
            f"lease_file={self.internet.root}/leases-{self.number}",
            "secure_mode=yes",
            "system_uptime=yes",
            "uuid=00000000-0000-0000-0000-000000000000",
            "min_lifetime=10",
            "allow 1024-65535 192.168.1.0/24 1024-65535",
            "deny 0-65535 0.0.0.0/0 0-65535",
        ]
        config = self.internet.root / f"miniupnpd-{self.number}.conf"
        config.write_text("\n".join(settings) + "\n")
        pid = self.internet.root / f"miniupnpd-{self.number}.pid"
        self._miniupnpd = self.router.spawn(program, "-d", "-f", str(config), "-P", str(pid))
        port = 1900 if "upnp" in self.kind.mapping else 5351
        wait_for("miniupnpd to listen", lambda: self.router.listens(port))

    def stop_miniupnpd(self) -> None:
        """It ends and forgets all, as when the router restarts."""
        self._miniupnpd.terminate()
        self._miniupnpd.wait(10)
        for leases in self.internet.root.glob(f"leases-{self.number}*"):
            leases.unlink()
        for chain in ("miniupnpd", "prerouting_miniupnpd", "postrouting_miniupnpd"):
            self.router.nft(f"flush chain inet filter {chain}\n")

    def start_miniupnpd(self) -> None:
        """It is ready again."""
        self._start_miniupnpd()

    # Machines.

    def host(self) -> Host:
        """One more machine on the LAN; where there is no NAT, the one machine that is the site."""
        if self.kind.nat is None:
            return Host(self, self.router, (self.public,))
        self._hosts += 1
        machine = self.internet.namespace(f"h{self.number}.{self._hosts}")
        port = f"p{self._hosts}"
        self.internet.wire(self.router, port, machine, "eth0")
        self.router.ip(f"link set {port} master lan")
        addresses = []
        if self.kind.ipv4:
            addresses.append(f"192.168.1.{9 + self._hosts}")
            machine.ip(f"addr add {addresses[-1]}/24 dev eth0")
            machine.ip("route add default via 192.168.1.1")
        if self.kind.ipv6:
            addresses.append(f"{self.prefix6}::{self._hosts + 9:x}")
            machine.ip(f"addr add {addresses[-1]}/64 dev eth0 nodad")
            machine.ip(f"-6 route add default via {self.prefix6}::1")
        return Host(self, machine, tuple(addresses))

    # What happens to homes.

    def forget_mappings(self) -> None:
        """Flushes connection tracking, as a router does that restarts; UDP from the LAN then comes
        from another port (a single one, since a range would make the NAT a hard one).
        """
        if self.kind.nat != "hard":
            self._rebinds += 1
            port = 20_000 + self._rebinds
            self.router.nft(f"""
                flush chain inet filter postrouting
                table inet filter {{
                    chain postrouting {{
                        jump postrouting_miniupnpd
                        oifname "wan" meta nfproto ipv4 meta l4proto udp masquerade to :{port}
                        {self._masquerade}
                    }}
                }}
            """)
        self._drop_wan()
        self._address_wan()

    def change_address(self) -> str:
        """The carrier gives the router another public address; returns it."""
        assert self.carrier is None, "the carrier's address is not the home's"
        self.internet.core.ip(f"route del {self.public}/32")
        self._drop_wan()
        self.public = self.wan = self.internet.public_address(self)
        self.internet.core.ip(f"route add {self.public}/32 dev s{self.number}")
        self._address_wan()
        return self.public

    def _drop_wan(self) -> None:
        # Masquerading forgets its mappings with the address that they were made for.
        self.router.ip(f"addr del {self.wan}/32 dev wan")
        self.router.ip("link set wan down")
        self.router.ip("link set wan up")

    def unplug(self) -> None:
        """The line to the internet is cut."""
        self.internet.core.ip(f"link set s{self.number} down")

    def plug_in(self) -> None:
        self.internet.core.ip(f"link set s{self.number} up")
        if self.kind.ipv4:
            self.internet.core.ip(f"route replace {self.public}/32 dev s{self.number}")

    def set_udp_timeout(self, seconds: int) -> None:
        """How long the NAT remembers a mapping without traffic."""
        for name in ("nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"):
            self.router.sysctl(f"net.netfilter.{name}", seconds)


def _carrier_rules(kind: str) -> str:
    """A carrier's NAT: nothing but the rewriting and a firewall for what was not asked for."""
    return f"""
        table inet filter {{
            chain forward {{
                type filter hook forward priority 0; policy drop;
                ct state established,related accept
                iifname != "wan" accept
            }}
            chain postrouting {{
                type nat hook postrouting priority srcnat;
                oifname "wan" {_NAT_RULES[kind][0]}
            }}
        }}
    """


@dataclass(frozen=True)
class Host:
    """A machine on which a daemon can run."""

    site: Site
    machine: Namespace
    addresses: tuple[str, ...]


class NatDaemon(Daemon):
    """An hdpd on a machine of the laboratory."""

    def __init__(self, root: Path, host: Host, name: str, flags: tuple[str, ...]) -> None:
        super().__init__(root, name, flags)
        self.host = host

    def start(self) -> Self:
        """Starts it and waits, longer than elsewhere: a full laboratory fills small machines."""
        self.launch()
        wait_for(f"{self.label} to be ready", self._is_ready, within=READY_S, poll=0.05)
        return self

    @property
    def command(self) -> list[str]:
        return self.host.machine.command(
            *(sys.executable, "-m", self.module),
            *("--state-dir", str(self.state)),
            *("--share-dir", f"media={self.share}"),
            *("--download-dir", str(self.downloads)),
            *("--control", f"unix:{self.socket}"),
            *("--log-level", "debug"),
            *self.flags,
        )


@dataclass
class Internet:
    """The laboratory. Its own short directory keeps paths of Unix sockets below 107 bytes."""

    root: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="hdn-")))
    topic: str = "laboratory"
    quiet: bool = False  # otherwise the logs are printed at the end, for a test that fails

    def __post_init__(self) -> None:
        self.prefix = f"hdn{os.getpid()}.{next(_numbers)}"
        self.numbers: Iterator[int] = itertools.count(1)
        self._addresses = itertools.count(1)
        self._namespaces: list[Namespace] = []
        self._daemons: list[NatDaemon] = []
        try:
            self.core = self.namespace("core")
            self._start_services()
        except BaseException:
            self.close()
            raise

    def namespace(self, label: str) -> Namespace:
        made = Namespace(self, label)
        self._namespaces.append(made)
        return made

    def wire(self, first: Namespace, port: str, second: Namespace, other_port: str) -> None:
        """A network cable between two machines."""
        run(
            *("ip", "link", "add", port, "netns", first.name),
            *("type", "veth", "peer", "name", other_port, "netns", second.name),
        )
        first.ip(f"link set {port} up")
        second.ip(f"link set {other_port} up")

    def public_address(self, site: Site) -> str:
        """A new public IPv4 address. miniupnpd knows the documentation addresses and refuses to
        map ports on them, so its routers have others, which are as isolated here.
        """
        number = next(self._addresses)
        return f"11.0.0.{number}" if site.kind.mapping else f"198.51.100.{number}"

    def _start_services(self) -> None:
        core = self.core
        core.forward()
        for address in (BROKER, *STUN):
            core.ip(f"addr add {address}/32 dev lo")
        for address in (BROKER_V6, *STUN_V6):
            core.ip(f"addr add {address}/128 dev lo nodad")
        config = self.root / "mosquitto.conf"
        config.write_text(f"listener {BROKER_PORT}\nallow_anonymous true\nuser root\n")
        self.start_broker()
        for addresses in (STUN, STUN_V6):
            core.spawn(sys.executable, "-m", "tests.nat.stun_server", *addresses)
        wait_for("the STUN servers", lambda: core.run("ss", "-Hlun").count(":3479 ") >= 4)

    def start_broker(self) -> None:
        config = self.root / "mosquitto.conf"
        self._broker = self.core.spawn("mosquitto", "-c", str(config))
        wait_for("the broker to listen", lambda: self.core.listens(BROKER_PORT, "tcp"))

    def stop_broker(self) -> None:
        self._broker.terminate()
        self._broker.wait(10)

    def site(self, name: str, neighbour: Site | None = None) -> Site:
        """A home of one of the `SITES`; a neighbour has the same carrier's NAT."""
        return Site(self, name, SITES[name], neighbour)

    def slow_down(self, first: Site, second: Site, *line: float) -> None:
        """What goes from one to the other passes through a line like that of `slow_line`."""
        core = self.core
        core.spawn(sys.executable, "-m", "tests.nat.slow_line", *map(str, line))
        wait_for("the slow line", lambda: SLOW_LINE in core.ip("-brief link"))
        for name in ("all", "default", SLOW_LINE):
            core.sysctl(f"net.ipv4.conf.{name}.rp_filter", 0)
        core.ip(f"link set {SLOW_LINE} up")
        core.ip(f"route add default dev {SLOW_LINE} table 100")
        for one, other in ((first, second), (second, first)):
            core.ip(f"rule add iif s{one.number} to {other.public} lookup 100")

    def daemon(self, host: Host, *flags: str) -> NatDaemon:
        """A daemon that is not started yet; flags that are given replace those of the same name."""
        given = {flag for flag in flags if flag.startswith("--")}
        chosen = list(flags)
        ipv4 = host.site.kind.ipv4
        stun = STUN if ipv4 else ()
        stun6 = STUN_V6 if host.site.kind.ipv6 else ()
        servers = [f"{each}:3478" for each in stun] + [f"[{each}]:3478" for each in stun6]
        defaults = {
            "--topic": [self.topic],
            "--mqtt-server": [f"mqtt://{BROKER if ipv4 else f'[{BROKER_V6}]'}:{BROKER_PORT}"],
            "--stun-server": servers,
            "--port": ["3031"],
        }
        for flag, values in defaults.items():
            if flag not in given:
                chosen += [part for value in values for part in (flag, value)]
        daemon = NatDaemon(self.root, host, f"d{len(self._daemons)}", tuple(chosen))
        self._daemons.append(daemon)
        return daemon

    def close(self) -> None:
        """Ends everything; the directory goes, too."""
        for daemon in self._daemons:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.kill()
            if not self.quiet and daemon.log_path.exists():
                print(f"--- {daemon.label} ({daemon.host.site.name})\n{daemon.log()[-6000:]}")
        for namespace in self._namespaces:
            namespace.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
