"""What changes in a share is what peers see, without anybody asking for a scan."""

from __future__ import annotations

from tests.e2e.harness import Daemon, Lab, wait_for

WITHIN_S = 10  # 2 s, and what a busy machine adds


def listed(peer: Daemon, path: str) -> list[str]:
    return peer.ctl("ls", path).splitlines()


def test_peers_see_changes_soon_and_nothing_that_is_left_out(lab: Lab) -> None:
    a, b = lab.pair_by_invite()
    a.wait_scanned()
    media = f"{a.name}/media"
    (a.share / ".hdpignore").write_text("*.secret\n")
    (a.share / "film.secret").write_text("!")
    (a.share / "film").mkdir()
    (a.share / "film" / "one.mkv").write_text("1")
    wait_for("a film", lambda: listed(b, media) == ["film/"], within=WITHIN_S)
    wait_for("it in there", lambda: listed(b, f"{media}/film") == ["one.mkv"], within=WITHIN_S)
    (a.share / "film").rename(a.share / "Film")
    wait_for("its name", lambda: listed(b, media) == ["Film/"], within=WITHIN_S)
    wait_for("the search", lambda: "Film/one.mkv" in b.ctl("search", "film one"), within=WITHIN_S)
    assert "there is no" in b.fails("cat", f"{media}/film.secret")
