"""Pages in a real browser: Debian's Chromium, driven by Playwright, which brings none of its own here.

Without a Chromium these tests are skipped (`tests/support/tools.py`). The rules of axe-core are tried where
EMBHUB_NODE_FOLDER holds it. With EMBHUB_PICTURES they leave pictures of the pages in that folder.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import tools

AXE = Path(os.environ.get("EMBHUB_NODE_FOLDER", "/nonexistent")) / "node_modules/axe-core/axe.min.js"
PICTURES = os.environ.get("EMBHUB_PICTURES")  # a folder for pictures of pages, for a person to look at
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; without one the test is skipped."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    tools.require("chromium", found=program is not None)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


def new_page(browser: Any, said: list[str], **options: Any) -> Any:
    """A tab of a fresh profile; what its console says goes to `said`, also what a policy blocked."""
    page = browser.new_context(**options).new_page()
    page.on("console", lambda message: said.append(f"{page.url}: {message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"{page.url}: {error}"))
    return page


def follow(control: Any) -> None:
    """Click what leads to another page, and wait for that page; until then the one that is left could be read."""
    with control.page.expect_navigation():
        control.click()


def log_in_by_link(page: Any, link: str) -> None:
    """Use a one-time link, of which the path counts: WebAuthn takes no address for a name."""
    page.goto("/" + link.split("/", 3)[3])
    follow(page.get_by_role("button", name="Log in with this link"))


def broken_rules(page: Any, *, least: int = 16) -> list[tuple[str, list[str]]]:
    """Rules of axe that the page breaks, and where; none where axe is not at hand. At least `least` have to pass."""
    if not AXE.exists():
        return []
    page.evaluate(AXE.read_text())
    found = page.evaluate("tags => axe.run(document, {runOnly: {type: 'tag', values: tags}})", RULES)
    assert len(found["passes"]) >= least, "axe saw a page"
    return [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found["violations"]]


def keep_pictures(page: Any, name: str, *, scheme: str) -> None:
    """The whole page at 1280 and 390 pixels into the folder EMBHUB_PICTURES, where it is set."""
    if not PICTURES:
        return
    page.emulate_media(color_scheme=scheme)
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.screenshot(path=Path(PICTURES) / f"{name}-{width}-{scheme}.png", full_page=True)


def width_of(page: Any) -> int:
    """What the page takes, pixels: more than the window means sideways scrolling."""
    return int(page.evaluate("document.documentElement.scrollWidth"))
