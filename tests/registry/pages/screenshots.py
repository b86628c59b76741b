"""Pictures of a registry's pages: `python -m tests.registry.pages.screenshots OUT` writes every page in four forms.

With `--docs` it writes the pictures of docs/how-to/use-the-pages.md into docs/images instead, with the embedding that
comes with the source, and the picture of the start page: a part of docs/images/see-it.png.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from embhub_registry import pages
from examples.demo.cast import Registry
from examples.demo.story import NAMESPACE, SHIPPED, publish_shipped, settle
from tests.support import showroom

PAGES = {
    "list": "/?q=&modality=MR",
    "everything": "/",
    "findings": "/findings",
    "bases": "/bases",
    "nothing": "/?q=nothing-like-it",
    "cspca": "/radboud/prostate-cspca",
    "leak": "/radboud/brain-wmh",
    "knee": "/lumc/knee-effusion",
    "pneumonia": "/lumc/xray-pneumonia",
    "planned": "/radboud/planned",
    "namespace": "/radboud",
    "compare": "/compare?with=radboud/prostate-cspca&with=lumc/knee-effusion",
    "trust": "/trust",
    "missing": "/radboud/no-such-embedding",
}
SHOWN = f"/{NAMESPACE}/{SHIPPED.stem}"
DOCS = {"registry-list": "/", "registry-embedding": SHOWN, "registry-findings": "/findings"}
LOADED = "Promise.all([...document.images].map(image => { image.loading = 'eager'; return image.decode(); }))"
IMAGES = Path(__file__).parents[3] / "docs" / "images"
START = Path(pages.__file__).parent / "static" / "without-and-with.webp"


def main() -> None:
    """Parse the command line, furnish a registry and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", default=Path("screenshots"))
    parser.add_argument("--docs", action="store_true", help="write the pictures of the documentation")
    chosen = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        room = showroom.furnish(Path(folder))
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        try:
            if chosen.docs:
                registry = Registry(room.registry.folder, room.registry.url)
                publish_shipped(settle(Path(tempfile.mkdtemp(dir=folder)), registry))
                _write_docs(browser, room.registry.url)
            else:
                _write_all(browser, room.registry.url, chosen.out)
        finally:
            browser.close()
            room.registry.stop()


def _write_docs(browser: Any, url: str) -> None:
    Image.open(IMAGES / "see-it.png").crop((0, 0, 777, 517)).save(START, quality=75, method=6)  # three columns
    context = browser.new_context(viewport={"width": 1040, "height": 800}, base_url=url)
    page = context.new_page()
    for name, path in DOCS.items():
        page.goto(path)
        page.screenshot(path=IMAGES / f"{name}.png", scale="css")
    page.goto(SHOWN)
    page.get_by_role("link", name="Generate images in your browser").click()
    page.get_by_label("Images", exact=True).select_option("8")
    page.get_by_role("button", name="Generate").click()
    page.get_by_text("8 images in").wait_for(timeout=300_000)
    form = page.locator("form[data-preview]").bounding_box()
    clip = {"x": 0, "y": 0, "width": 1040, "height": form["y"] + form["height"] + 16}
    page.screenshot(path=IMAGES / "registry-preview.png", scale="css", full_page=True, clip=clip)


def _write_all(browser: Any, url: str, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for width in (1280, 390):
        for scheme in ("light", "dark"):
            context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, base_url=url)
            page = context.new_page()
            for name, path in PAGES.items():
                page.goto(path)
                page.evaluate(LOADED)
                target = out / f"{name}-{width}-{scheme}.png"
                page.screenshot(path=target, full_page=True)
                sys.stdout.write(f"{target}\n")
            context.close()


if __name__ == "__main__":
    main()
