"""axe-core looks at every view, light and dark, on a desktop and a phone; and the page is small."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from hdpd.control.page import DIRECTORY
from tests.web.conftest import DESKTOP, PHONE, World

AXE = "axe-core@4"
MAX_PAGE_BYTES = 200_000
VIEWS = ["login", "#/peers", "#/search", "#/transfers", "#/sharing", "#/status", "browse"]


def test_the_page_is_small() -> None:
    files = [path for path in DIRECTORY.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MAX_PAGE_BYTES


def test_the_page_takes_nothing_from_elsewhere() -> None:
    allowed = ("http://www.w3.org/2000/svg",)
    for path in DIRECTORY.rglob("*.*"):
        text = path.read_text()
        for name in allowed:
            text = text.replace(name, "")
        assert "http://" not in text, path
        assert "https://" not in text, path
        assert "innerHTML" not in text, path


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, from npm or from AXE_CORE, a path to its axe.min.js."""
    if given := os.environ.get("AXE_CORE"):
        return Path(given).read_text()
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm to get axe-core; install it, or set AXE_CORE to an axe.min.js")
    directory = tmp_path_factory.mktemp("npm")
    done = subprocess.run(
        [npm, "install", "--prefix", str(directory), "--no-audit", "--no-fund", AXE],
        capture_output=True,
        check=False,
        timeout=60,
    )
    if done.returncode != 0:
        pytest.skip(f"npm could not get axe-core: {done.stderr.decode()[-200:]}")
    return (directory / "node_modules" / "axe-core" / "axe.min.js").read_text()


def prepare(page: Page, world: World, view: str) -> None:
    if view == "login":
        page.goto(world.url)
        page.wait_for_selector(".login")
        return
    if page.locator(".login").count():
        page.goto(world.link())
        page.wait_for_selector("nav a[aria-current=page]")
    page.goto(f"{world.url}/{world.browse('media/Films') if view == 'browse' else view}")
    shown = {
        "#/peers": world.friend.name,
        "#/transfers": "poster.png",
        "#/sharing": "media",
        "#/status": "ready: ",
        "browse": "poster.png",
    }
    if view == "#/search":
        page.get_by_role("searchbox").fill("track")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status").first).to_contain_text("6 hits")
    else:
        expect(page.locator("#view")).to_contain_text(shown.get(view, "media"))


# Colours go by the scheme and the layout by the size: two of the four say it all.
@pytest.mark.parametrize(
    ("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop light", "phone dark"]
)
def test_axe_finds_nothing_serious(
    browser: Browser,
    world: World,
    axe: str,
    size: ViewportSize,
    scheme: Literal["light", "dark"],
) -> None:
    world.clear_queue()
    world.rpc("downloads.add", peer=world.friend.peer_id, path="media/Films/poster.png")
    world.queue_and_remove("not there")
    found: list[str] = []
    # The page's policy would keep axe out.
    context = browser.new_context(
        viewport=size, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce"
    )
    page = context.new_page()
    page.set_default_timeout(20_000)
    for view in VIEWS:
        prepare(page, world, view)
        page.evaluate(axe)
        results = page.evaluate("axe.run({resultTypes: ['violations']})")
        for violation in results["violations"]:
            if violation["impact"] in {"serious", "critical"}:
                nodes = [node["html"][:150] for node in violation["nodes"][:3]]
                found.append(f"{view}: {violation['help']}: {nodes}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
    context.close()
    assert not found, "\n".join(found)
