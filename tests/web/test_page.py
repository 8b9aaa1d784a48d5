"""Each view of the page, used as people use it, against real daemons."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.waiting import wait_for
from tests.web.conftest import BIDI, DESKTOP, PHONE, SCRIPT, World
from tests.web.film import SECONDS


@pytest.fixture
def page(browser: Browser, world: World) -> Iterator[Page]:
    world.clear_queue()
    page = world.open(browser)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda m: problems.append(m.text) if "Security" in m.text else None)
    yield page
    page.context.close()
    assert problems == []


def row(page: Page, name: str) -> Locator:
    return page.locator(".list-row", has_text=name)


def open_directory(page: Page, world: World, path: str) -> None:
    page.goto(f"{world.url}/{world.browse(path)}")


def test_a_link_logs_in_once_and_the_session_stays(browser: Browser, world: World) -> None:
    link = world.link()
    context = browser.new_context()
    page = context.new_page()
    page.goto(link)
    expect(page.locator(".me")).to_contain_text(world.own.name)
    assert "code=" not in page.url
    [cookie] = context.cookies()
    assert cookie["name"] == f"hdpd_session_{world.port}"
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    page.reload()
    expect(page.locator(".me")).to_contain_text(world.own.name)
    again = browser.new_context().new_page()
    again.goto(link)
    expect(again.get_by_role("alert")).to_contain_text("used already")
    token = world.rpc("tokens.new", role="read")["token"]
    again.get_by_label("Login link or token").fill(token)
    again.get_by_role("button", name="Log in").click()
    expect(again.locator(".me")).to_contain_text(world.own.name)
    assert again.get_by_role("button", name="Invite a friend").count() == 0
    again.goto(f"{world.url}/#/status")
    expect(again.get_by_text("look at everything")).to_be_visible()
    for opened in (page, again):
        opened.context.close()


def test_peers_say_how_they_are_connected(page: Page, world: World) -> None:
    card = page.locator("article", has_text=world.friend.name)
    expect(card).to_contain_text("Connected on your network")
    expect(card).to_contain_text(world.friend.peer_id[:16])
    page.get_by_role("button", name="Invite a friend").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Invite code", exact=True)).to_have_value(re.compile("^hdp1"))
    expect(dialog.get_by_role("img", name="QR")).to_be_visible()
    page.keyboard.press("Escape")
    card.get_by_role("link", name="Browse").click()
    expect(row(page, "media")).to_be_visible()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_directories_are_browsed_by_keyboard(browser: Browser, world: World, size: object) -> None:
    page = world.open(browser, world.browse("media"), size=size)  # type: ignore[arg-type]
    expect(row(page, "Films")).to_contain_text("files")
    filtered = page.get_by_role("searchbox", name="Filter")
    filtered.fill("bjö")
    expect(page.get_by_role("status").first).to_contain_text("0 of")
    filtered.fill("MUS")
    expect(page.locator(".list-row")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Music")).to_be_visible()
    row(page, "Björk").click()
    expect(page.get_by_role("heading", name="Björk")).to_be_visible()
    page.get_by_role("link", name="media").click()
    expect(row(page, "big.bin")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.context.close()


def test_the_order_and_the_selection(page: Page, world: World) -> None:
    open_directory(page, world, "media")
    expect(page.locator(".list-row")).to_contain_text(["Films", "Music", "odd", "big.bin"])
    page.get_by_role("button", name="Size").click()
    expect(page.get_by_role("columnheader", name="Size")).to_have_attribute(
        "aria-sort", "descending"
    )
    expect(page.locator(".list-row")).to_contain_text(["Films", "Music", "odd", "big.bin"])
    open_directory(page, world, "media/Films")
    page.get_by_role("button", name="Size").click()
    expect(page.locator(".list-row").first).to_contain_text("long film.mp4")
    open_directory(page, world, "media/Music/Björk/Debut")
    page.get_by_label("Select 01 Track.wav").check()
    page.get_by_label("Select 03 Track.wav").check()
    expect(page.get_by_text("2 items selected")).to_be_visible()
    page.get_by_role("button", name="Download selected").click()
    expect(page.get_by_text("2 items queued")).to_be_visible()
    for name in ("01 Track.wav", "03 Track.wav"):
        wait_for(f"{name} to be there", (world.own.downloads / name).exists)
    assert not (world.own.downloads / "02 Track.wav").exists()


def test_pictures_text_and_sound_are_shown(page: Page, world: World) -> None:
    open_directory(page, world, "media/Films")
    page.get_by_role("button", name="Preview poster.png").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("img")).to_have_js_property("naturalWidth", 64)
    page.keyboard.press("ArrowRight")
    expect(dialog.get_by_role("heading")).to_have_text("second.png")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Preview notes.txt").click()
    expect(dialog.locator("pre")).to_contain_text("Grüße from a friend")
    page.keyboard.press("Escape")
    open_directory(page, world, "media/Music/Björk/Live 1997")
    page.get_by_role("button", name="Preview 02 Track.wav").click()
    expect(dialog.locator("audio")).to_have_js_property("duration", 1)


def test_a_film_is_sought_in_while_it_is_at_the_friend(page: Page, world: World) -> None:
    ranges: list[str] = []
    page.on("request", lambda r: ranges.append(r.headers.get("range", "")))
    open_directory(page, world, "media/Films")
    page.get_by_role("button", name="Preview long film.mp4").click()
    film = page.locator("video")
    film.evaluate("film => { film.muted = true; }")
    film.evaluate(
        """film => film.readyState >= 3 ||
            new Promise(done => film.addEventListener('canplay', done, {once: true}))"""
    )
    assert abs(float(film.evaluate("film => film.duration")) - SECONDS) < 1
    waited = film.evaluate(
        """film => new Promise(done => {
            const start = performance.now();
            film.addEventListener('seeked', () => done(performance.now() - start), {once: true});
            film.currentTime = 35;
        })"""
    )
    assert waited < 5000  # half a second on a machine with nothing else to do
    assert film.evaluate("film => [film.error, film.readyState >= 2]") == [None, True]
    # Not all that lies between was read.
    assert any(
        int(found[1]) > 3_000_000_000 for r in ranges if (found := re.match(r"bytes=(\d+)", r))
    )
    page.keyboard.press("Escape")
    expect(page.locator("video")).to_have_count(0)
    wait_for("the friend to send no more", lambda: not world.friend.rpc("uploads.list")["active"])


def test_names_are_harmless(page: Page, world: World) -> None:
    open_directory(page, world, "media/odd")
    expect(row(page, SCRIPT)).to_be_visible()
    expect(row(page, BIDI.replace("\u202e", "\\u202e"))).to_be_visible()
    expect(row(page, "bytes \\xff\\xfe.txt")).to_be_visible()
    assert page.locator(".list img").count() == 0
    row(page, "bytes").get_by_role("button", name="Download").click()
    wait_for("the name of bytes", lambda: any(b"\xff" in n for n in names(world)))
    assert "owned" not in page.title()


def names(world: World) -> list[bytes]:
    return [bytes(path) for path in world.own.downloads.iterdir()]


def test_search_groups_hits_and_filters_them(page: Page, world: World) -> None:
    page.goto(f"{world.url}/#/search")
    page.get_by_role("searchbox").fill("bjork track")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_contain_text("6 hits")
    expect(page.locator(".group")).to_have_count(2)
    expect(page.locator(".group").first).to_contain_text("Björk/Debut")
    page.get_by_role("button", name="Video").click()
    expect(page.get_by_text("Nothing fits these filters")).to_be_visible()
    page.get_by_role("button", name="Audio").click()
    page.get_by_label("Size").select_option("1 MB or more")
    expect(page.get_by_text("Nothing fits these filters")).to_be_visible()
    page.get_by_role("searchbox").fill("xyzzy")
    expect(page.get_by_text("Nothing was found")).to_be_visible()


def test_the_queue_is_paused_ordered_and_cancelled(page: Page, world: World) -> None:
    page.goto(f"{world.url}/#/transfers")
    peer = world.friend.peer_id

    def add(path: str) -> str:
        identifier: str = world.rpc("downloads.add", peer=peer, path=path)["id"]
        return identifier

    ids = [add("media/big.bin")]
    big = row(page, "big.bin")
    expect(big.locator(".state")).to_contain_text("/s")
    ids += [add("media/Films/poster.png"), add("media/Films/second.png")]
    expect(row(page, "poster.png")).to_contain_text("Queued")
    row(page, "poster.png").focus()
    page.keyboard.press("Alt+ArrowDown")
    wait_for("the order to change", lambda: queue(world)[-2:] == [ids[2], ids[1]])
    expect(row(page, "poster.png")).to_be_focused()
    big.scroll_into_view_if_needed()
    handle = row(page, "poster.png").locator(".handle").bounding_box()
    target = big.bounding_box()
    assert handle is not None
    assert target is not None
    page.mouse.move(handle["x"] + 5, handle["y"] + 20)
    page.mouse.down()
    page.mouse.move(handle["x"] + 5, target["y"] + 10, steps=4)
    page.mouse.up()
    # First in the queue, it is fetched before the large one goes on.
    expect(row(page, "poster.png")).to_contain_text("Done")
    expect(row(page, "second.png")).to_contain_text("Queued")
    big.get_by_role("button", name="Pause big.bin").click()
    expect(big).to_contain_text("Paused")
    expect(row(page, "second.png")).to_contain_text("Done")
    big.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Cancel").click()
    page.get_by_role("button", name="Cancel the download").click()
    expect(big).to_have_count(0)
    row(page, "poster.png").locator("a").click()
    with page.expect_popup() as opened:
        page.get_by_role("dialog").get_by_role("link", name="poster.png").click()
    expect(opened.value.locator("img")).to_have_js_property("naturalWidth", 64)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Clear done").click()
    expect(row(page, "poster.png")).to_have_count(0)


def queue(world: World) -> list[str]:
    states = ["queued", "waiting_for_peer", "remote_queued", "downloading", "paused"]
    return [d["id"] for d in world.rpc("downloads.list", states=states)["downloads"]]


def test_what_failed_says_why_and_can_be_cleared(page: Page, world: World) -> None:
    page.goto(f"{world.url}/#/transfers")
    world.queue_and_remove("not there")
    late = row(page, "not there")
    expect(late).to_contain_text("Failed")
    (world.friend.share / "not there").write_text("now it is")
    late.get_by_role("button", name="Try again").click()
    expect(late).to_contain_text("Done")
    (world.friend.share / "not there").unlink()

    world.queue_and_remove("never there")
    failed = row(page, "never there")
    expect(failed).to_contain_text("Failed")
    failed.focus()
    page.keyboard.press("Delete")
    expect(failed).to_have_count(0)


def test_shares_and_topics_are_added_and_removed(page: Page, world: World) -> None:
    more = world.lab.root / "more"
    more.mkdir(exist_ok=True)
    (more / "file").write_text("x")
    page.goto(f"{world.url}/#/sharing")
    page.get_by_label("Directory on the machine of hdpd").fill(str(more))
    page.get_by_label("Shared as").fill("More things")
    page.get_by_role("button", name="Share", exact=True).click()
    card = page.locator("article", has_text="More things")
    expect(card).to_contain_text("1 file")
    card.get_by_role("button", name="More about").click()
    page.get_by_role("menuitem", name="Rescan").click()
    expect(card).to_contain_text("Ready")
    card.get_by_role("button", name="More about").click()
    page.get_by_role("menuitem", name="Stop sharing").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop sharing").click()
    expect(card).to_have_count(0)
    page.get_by_label("Directory on the machine of hdpd").fill("/nowhere")
    page.get_by_role("button", name="Share", exact=True).click()
    expect(page.locator(".toast.bad")).to_contain_text("/nowhere")
    page.get_by_label("Topic name").fill("reading circle")
    page.get_by_role("button", name="Join").click()
    topic = page.locator("li", has_text="reading circle")
    expect(topic).to_contain_text("easy to guess")
    topic.get_by_role("button", name="Leave").click()
    page.get_by_role("dialog").get_by_role("button", name="Leave").click()
    expect(topic).to_have_count(0)


def test_status_shows_the_log_and_manages_tokens(page: Page, world: World) -> None:
    page.goto(f"{world.url}/#/status")
    expect(page.get_by_role("heading", name=world.own.name)).to_be_visible()
    expect(page.get_by_role("log")).to_contain_text("ready: ")
    page.get_by_role("button", name="New token").click()
    page.get_by_label("It may").select_option("read")
    page.get_by_role("button", name="Make it").click()
    expect(page.locator(".secret")).to_contain_text("hdp_")
    page.keyboard.press("Escape")
    token = page.locator("li", has_text="token-").last
    token.get_by_role("button", name="Revoke").click()
    before = len(world.rpc("tokens.list")["tokens"])
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    wait_for("one less", lambda: len(world.rpc("tokens.list")["tokens"]) == before - 1)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_limits_are_shown_and_changed(page: Page, world: World) -> None:
    page.goto(f"{world.url}/#/status")
    limits = page.locator("section", has=page.get_by_role("heading", name="Limits"))
    upload = limits.get_by_label("Upload to all")
    expect(upload).to_have_value("none")
    upload.fill("16Mbit/s")
    limits.get_by_label("On the local network, too").check()
    limits.get_by_role("button", name="Set the limits").click()
    expect(upload).to_have_value("2MB/s")
    expect(limits.locator("label", has_text="Upload to all")).to_contain_text("set by hand")
    assert world.rpc("limits.get")["set"] == {"upload": 2_000_000, "lan": True}
    limits.get_by_label("Download from each peer").fill("fast")
    limits.get_by_role("button", name="Set the limits").click()
    expect(page.get_by_text("'fast' is not a rate, such as 2MB/s")).to_be_visible()
    limits.get_by_role("button", name="Back to the settings").click()
    expect(upload).to_have_value("none")
    assert world.rpc("limits.get")["set"] == {}


def test_one_is_sent_away_when_the_session_is_revoked(browser: Browser, world: World) -> None:
    page = world.open(browser)
    [*_others, session] = world.rpc("tokens.list")["tokens"]
    world.rpc("tokens.revoke", id=session["id"])
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.context.close()
