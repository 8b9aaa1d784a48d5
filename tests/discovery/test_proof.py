"""What comes back of what we publish says whether a broker works."""

from __future__ import annotations

from hdpd.discovery.proof import AGAIN_S, ECHO_S, MAX_PENDING, Proof


def test_a_message_that_comes_back_is_the_proof() -> None:
    proof = Proof()
    assert proof.works is None
    proof.published(b"one", 0.0)
    assert not proof.look(1.0)
    assert proof.works is None
    assert not proof.received(b"of somebody else")
    assert proof.received(b"one")
    assert proof.works is True
    assert not proof.received(b"one")  # once is enough; a second one is somebody's replay


def test_what_never_comes_back_is_tried_again_now_and_then() -> None:
    proof = Proof()
    proof.published(b"one", 0.0)
    late = ECHO_S + 0.1
    assert proof.look(late)
    assert proof.works is False
    assert not proof.look(late + 1)
    assert proof.look(late + AGAIN_S + 1)
    proof.published(b"two", 100.0)
    assert proof.received(b"two")
    assert proof.works is True


def test_a_single_message_may_be_lost() -> None:
    proof = Proof()
    proof.published(b"one", 0.0)
    proof.published(b"two", 1.0)
    assert proof.received(b"two")
    assert not proof.look(100.0)
    assert proof.works is True
    proof.published(b"three", 200.0)
    proof.published(b"four", 204.0)
    assert not proof.look(206.0)
    assert proof.works is True  # the fourth has time still


def test_what_waits_is_bounded_and_forgotten_with_the_topic() -> None:
    proof = Proof()
    for number in range(2 * MAX_PENDING):
        proof.published(bytes([number]), 0.0)
    assert not proof.received(b"\0")
    proof.forget()
    assert not proof.look(100.0)
    assert proof.works is None


def test_what_is_published_again_waits_anew_and_behind_the_others() -> None:
    proof = Proof()
    proof.published(b"one", 0.0)
    proof.published(b"two", 1.0)
    proof.published(b"one", 4.0)
    assert proof.received(b"two")
    assert not proof.look(4.0 + ECHO_S)
    assert proof.received(b"one")
    assert proof.works is True


def test_that_it_worked_before_is_remembered() -> None:
    proof = Proof()
    proof.published(b"one", 0.0)
    assert proof.received(b"one")
    proof.published(b"two", 1.0)
    proof.look(1.1 + ECHO_S)
    assert (proof.works, proof.worked) == (False, True)
