"""An open directory follows what happens in it, while everything stays where people look."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.waiting import wait_for
from tests.web.conftest import World

FILES = 700  # more than the first page that is asked for


@pytest.fixture
def directory(world: World) -> Iterator[Path]:
    """A directory of the friend, as long as the test."""
    directory = world.friend.share / "renewed"
    directory.mkdir()
    for number in range(FILES):
        (directory / f"file {number:03}").write_text("x")
    wait_for("the directory", lambda: len(entries(world, directory)) == FILES)
    yield directory
    shutil.rmtree(directory)
    wait_for("its end", lambda: directory.name not in entries(world, world.friend.share))


def entries(world: World, directory: Path) -> list[str]:
    where = directory.relative_to(world.friend.share.parent).as_posix()
    try:
        found = world.rpc("files.list", peer=world.friend.peer_id, path=where)
    except AssertionError:
        return []
    return [entry["name"] for entry in found["entries"]]


def row(page: Page, name: str) -> Locator:
    return page.locator(".list-row", has_text=name)


def top_of(locator: Locator) -> float:
    box = locator.bounding_box()
    assert box is not None
    return box["y"]


def test_what_changes_shows_and_nothing_jumps(
    browser: Browser, world: World, directory: Path
) -> None:
    page = world.open(browser, world.browse("media/renewed"))
    summary = page.get_by_role("status").first
    expect(summary).to_contain_text(f"{FILES} items")
    page.locator(".list-scroller").evaluate("list => list.scrollTop = 30000")
    chosen = row(page, "file 655")
    chosen.get_by_role("checkbox").check()
    row(page, "file 656").focus()
    before = top_of(chosen)

    (directory / "a new file").write_text("new")
    expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", str(FILES + 2))
    assert top_of(chosen) == before
    expect(chosen.get_by_role("checkbox")).to_be_checked()
    expect(row(page, "file 656")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(row(page, "file 657")).to_be_focused()

    (directory / "file 000").unlink()
    (directory / "file 655").unlink()
    expect(summary).to_contain_text(f"{FILES - 1} items")
    expect(row(page, "file 657")).to_be_focused()
    page.locator(".list-scroller").evaluate("list => list.scrollTop = 0")
    expect(page.locator(".list-row").first).to_contain_text("a new file")
    (directory / "A first file").write_text("new")
    expect(page.locator(".list-row").first).to_contain_text("A first file")
    page.context.close()


def test_own_shares_and_the_list_of_shares_follow_too(browser: Browser, world: World) -> None:
    page = world.open(browser, "#/peers/self/media")
    expect(row(page, "mine.txt")).to_be_visible()
    new = world.own.share / "just now.txt"
    new.write_text("new")
    expect(row(page, "just now.txt")).to_be_visible()
    new.unlink()
    expect(row(page, "just now.txt")).to_have_count(0)
    page.goto(f"{world.url}/{world.browse('')}")
    expect(row(page, "media")).to_be_visible()
    other = world.friend.root / "other"
    other.mkdir()
    world.friend.rpc("shares.add", path=str(other))
    expect(row(page, "other")).to_be_visible()
    world.friend.rpc("shares.remove", name="other")
    expect(row(page, "other")).to_have_count(0)
    page.context.close()
