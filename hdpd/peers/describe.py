"""What the control interface shows of a peer, and why one is reached the way it is, or not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from hdpd.discovery.records import Candidate, NatKind
from hdpd.errors import HdpdError, NoCommonTopic
from hdpd.identity.keys import PeerId
from hdpd.link.session import Session, Surroundings
from hdpd.peers.peer import Peer
from hdpd.peers.states import WORDS, State, Word
from hdpd.peers.status import PathKind, PeerExplained, PeerStatus
from hdpd.peers.topics import Topics
from hdpd.peers.traversal import Traversal
from hdpd.peers.tries import shown

_OWN_NAT = {
    "unknown": "what stands between this machine and the internet is not known yet",
    "none": "this machine has a public address",
    "easy": "the router here has an easy NAT",
    "hard": "the router here has a hard NAT: each destination sees another port",
}
_FORWARD = (
    "let the router here forward a UDP port to this machine: switch on UPnP, NAT-PMP or PCP in it, "
    "or forward the port by hand"
)
_WITH_FRIEND = "it is enough that one of you two does it: ask your friend, too"
CLOCK_ADVICE = (
    "set the clock that is wrong, here or there (timedatectl set-ntp true): then the two meet by "
    "themselves"
)
_IPV6 = "with IPv6 on both sides no NAT is in the way"


class Descriptions:
    """Describes peers as `peers.list` and `peers.explain` do; `candidates` are our addresses."""

    def __init__(
        self,
        around: Surroundings,
        topics: Topics,
        traversal: Traversal,
        candidates: Callable[[], Sequence[Candidate]],
        clock: Callable[[PeerId], float | None],
        nowhere: Callable[[], str | None],
    ) -> None:
        """`clock` says by how many seconds a peer's clock is ahead of ours, where it is so far that
        neither takes what the other one signs; `nowhere` why nobody beyond can be met.
        """
        self._around = around
        self._topics = topics
        self._traversal = traversal
        self._candidates = candidates
        self._clock = clock
        self._nowhere = nowhere
        self._loop = asyncio.get_running_loop()

    def describe(self, peer: Peer) -> PeerStatus:
        """What `peers.list` shows of it."""
        session, shared = peer.session, frozenset(peer.known.topics)
        since = None if session is None else time.time() - (self._loop.time() - session.since)
        return PeerStatus(
            id=peer.peer_id,
            name=peer.name,
            state=self._state(peer),
            address=None if session is None else shown(*session.address),
            path=None if session is None else self._path_kind(peer, session),
            found_by=tuple(peer.known.found_by),
            topics=tuple(self._topics.names_of(shared if session is None else session.topics)),
            rtt=None if session is None else session.rtt or None,
            connected_since=since,
            last_connected=peer.known.last_connected or None,
            error=None if session is not None else self._error(peer),
        )

    def _error(self, peer: Peer) -> HdpdError | None:
        """A punch knows more about the reason than a dial to which nobody answered."""
        dialled = peer.dial.error
        if isinstance(dialled, NoCommonTopic):
            return dialled
        return peer.way.error or dialled

    def _state(self, peer: Peer) -> Word:
        word = WORDS[peer.state]
        punching = word == "known" and self._traversal.is_punching(peer)
        return "connecting" if punching else word

    def _path_kind(self, peer: Peer, session: Session) -> PathKind:
        host, port = session.address
        if self._around.endpoint.is_on_link(host):
            return "lan"
        if ":" in host:
            return "ipv6"
        if (host, port) in peer.way.mapped:
            return "mapped"
        if self._traversal.owes_punch(peer, session):
            return "punched"
        is_mapped = any(each.kind == "mapped" for each in self._candidates())
        if not session.dialled_by_us and is_mapped and self._traversal.own_nat() != "none":
            return "mapped"  # nobody comes in uninvited but by the port that the router forwards
        return "direct"

    def explain(self, peer: Peer) -> PeerExplained:
        """The same, with all that was tried, the reason in words, and what could be changed."""
        own_nat, peer_nat = self._traversal.own_nat(), peer.way.peer_nat
        is_settled = peer.session is not None or peer.state is State.BLOCKED
        status = self.describe(peer)
        return PeerExplained(
            **{name: getattr(status, name) for name in PeerStatus.__struct_fields__},
            own_nat=own_nat,
            peer_nat=peer_nat,
            reason=self._reason(peer, own_nat),
            advice=() if is_settled else self._advice(peer, own_nat, peer_nat),
            tries=tuple(peer.tries.values()),
        )

    def _reason(self, peer: Peer, own_nat: NatKind) -> str:
        name, session = peer.name, peer.session
        if peer.state is State.BLOCKED:
            return f"{name} is blocked here"
        if session is not None and session.is_silent:
            text = f"{name} has not answered for {session.silence:.0f} s; another way is looked for"
            return "; ".join(each for each in (text, self._nowhere()) if each)
        if session is not None:
            return {
                "lan": f"{name} is on the same network",
                "ipv6": f"{name} is reached by IPv6, which needs no NAT",
                "mapped": f"{name} is reached through a port that a router forwards",
                "punched": f"{name} is reached through a hole punched in both routers",
                "direct": f"{name} is reached directly",
            }[self._path_kind(peer, session)]
        if (seconds := self._clock(peer.peer_id)) is not None:
            return clock_reason(name, seconds)
        error = self._error(peer)
        if error is not None:
            return f"{name} is {error.message}" if _is_verdict(error) else error.message
        here = self._nowhere() or _OWN_NAT[own_nat]
        return f"{name} {'is being tried' if peer.tries else 'was not tried yet'}; {here}"

    def _advice(self, peer: Peer, own_nat: NatKind, peer_nat: NatKind | None) -> tuple[str, ...]:
        error = self._error(peer)
        if self._clock(peer.peer_id) is not None:
            return (CLOCK_ADVICE,)
        if isinstance(error, NoCommonTopic):
            return ("meet at the same topic: `hdpctl topics join NAME` on both sides",)
        if (nowhere := self._nowhere()) is not None:
            return (nowhere, "a peer on this network is met when hdpd runs there at the same topic")
        if own_nat == peer_nat == "hard":
            return (_FORWARD, _WITH_FRIEND, _IPV6)
        if peer_nat is None:
            return (
                "is hdpd running there, at the same topic? It has not answered any request",
                "does it reach the same broker, or a peer that both of you are connected with?",
            )
        return (_FORWARD, _WITH_FRIEND, "does a firewall drop UDP, here or there?")


def clock_reason(name: str, seconds: float) -> str:
    """Why somebody is not met whose clock is `seconds` ahead of ours, or behind."""
    side = "ahead of" if seconds > 0 else "behind"
    return (
        f"the clock of {name} is {abs(seconds) / 3600:.1f} hours {side} the clock here, so that "
        "neither takes what the other one signs"
    )


def _is_verdict(error: HdpdError) -> bool:
    return error.code == "not_reachable"
