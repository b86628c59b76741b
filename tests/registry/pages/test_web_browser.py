"""The pages in a real browser: policy, narrow screens, axe, keyboard, a way without JavaScript, paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from tests.support import browsers, evaluations, releases, showroom, tools
from tests.support.browsers import follow
from tests.support.showroom import Showroom

CSPCA, WMH, KNEE = "/radboud/prostate-cspca", "/radboud/brain-wmh", "/lumc/knee-effusion"
COMPARED = f"/compare?with={CSPCA[1:]}&with={KNEE[1:]}"
PATHS = ["/?q=mri&modality=MR", CSPCA]
MORE = [
    KNEE,
    "/radboud",
    COMPARED,
    "/",
    "/findings",
    "/bases",
    "/trust",
    "/?q=nothing-like-it",
    WMH,
    "/lumc/xray-pneumonia",
    "/radboud/planned",
    "/compare",
]
EVERYWHERE = [*PATHS, *(pytest.param(path, marks=pytest.mark.thorough) for path in MORE)]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Showroom]:
    furnished = showroom.furnish(tmp_path_factory.mktemp("showroom"))
    _evaluate(furnished)
    yield furnished
    furnished.registry.stop()


def _evaluate(room: Showroom) -> None:
    """Evaluations that please, that do not, and the publisher's own, of an earlier version; one is removed."""
    digests = [
        showroom.make_release(CSPCA[1:], seed=seed, version=version, audited=False).embedding.digest
        for seed, version in ((3, "1.1.0"), (0, "1.0.0"))
    ]
    publish = partial(evaluations.publish, room.registry)
    for name, key in (("umcu", evaluations.KEY), ("amc", releases.make_key("amc")), ("eur", releases.make_key("eur"))):
        publish(digests[0], namespace=name, key=key, version="1.1.0", found=evaluations.FIGURES | evaluations.HARM)
    publish(digests[1], namespace="radboud", key=releases.make_key("own evaluations"))
    room.registry.run(
        "curate", "evaluation", "remove", CSPCA[1:], "--namespace", "eur", "--reason", "by mistake of its site"
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsers.chromium() as launched:
        yield launched


@pytest.fixture
def look(room: Showroom, browser: Any) -> Iterator[Any]:
    """Open a path in a fresh tab; whatever the console says, or a policy blocks, fails the test."""
    said: list[str] = []
    contexts = []

    def open_page(path: str, *, width: int = 1280, **options: Any) -> Any:
        options |= {"viewport": {"width": width, "height": 900}, "base_url": room.registry.url}
        page = browsers.new_page(browser, said, **options)
        contexts.append(page.context)
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith(room.registry.url) else said.append(f"{path}: {request.url}")
            ),
        )
        page.goto(path)
        return page

    open_page.said = said  # type: ignore[attr-defined]  # a function carries what the pages said
    yield open_page
    for context in contexts:
        context.close()
    assert said == []


def test_the_policy_is_enforced_and_lets_the_page_whole(look: Any) -> None:
    page = look(CSPCA)
    assert page.evaluate("getComputedStyle(document.querySelector('.top')).backgroundColor") == "rgb(15, 76, 92)"
    snippets = page.locator("pre[data-copy]").count()
    assert page.locator("button.copy").count() == snippets >= 4, "the script ran"
    assert page.locator("svg").count() == 1
    blocked = page.evaluate(
        "new Promise(done => { document.addEventListener('securitypolicyviolation', e => done(e.effectiveDirective));"
        " const s = document.createElement('div'); s.innerHTML = '<i style=\"color:red\">x</i>';"
        " document.body.append(s); setTimeout(() => done('nothing'), 2000); })"
    )
    assert blocked == "style-src-attr"
    assert len(look.said) == 1 and "violates the following Content Security Policy" in look.said.pop()


def test_a_first_visit_sees_in_one_screen_what_this_is(look: Any) -> None:
    page = look("/")
    picture = page.get_by_role("img", name="Six synthetic chest X-rays in two rows")
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    for part in (picture, page.get_by_text("audited for leakage"), page.get_by_role("link", name="Publish one")):
        box = part.bounding_box()
        assert box["y"] + box["height"] < 900 and box["x"] + box["width"] <= 1280


def test_what_others_found_is_on_the_page_and_whose_word_it_is(look: Any) -> None:
    page = look(CSPCA)
    section = page.locator("section[aria-labelledby=evaluations]")
    said = section.inner_text()
    assert section.locator("h3").all_inner_texts().count("Umcu: it did harm") == 1
    assert "by mistake of its site" in said and "none of the figures" in said
    assert "By the publisher itself" in said and "Of other bytes: version 1.0.0" in said


@pytest.mark.parametrize("path", EVERYWHERE)
def test_a_page_reads_well_on_a_narrow_screen(look: Any, path: str) -> None:
    """WCAG 2.2: 1.4.10 reflow at 320 pixels, 3.1.1 language, 1.3.1 headings, 2.4.2 title."""
    page = look(path, width=320)
    assert browsers.width_of(page) <= 320, "no sideways scrolling"
    outside = page.evaluate(
        "[...document.querySelectorAll('main *:not(.hidden):not(.scroll *)')].filter(e =>"
        " e.getBoundingClientRect().right > 321 && e.getClientRects().length && !e.closest('svg, .hidden'))"
        ".map(e => e.outerHTML)"
    )
    assert outside == []
    assert page.get_attribute("html", "lang") == "en" and page.title().endswith("Prostate consortium")
    levels = [int(tag[1]) for tag in page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(e => e.tagName)")]
    assert levels[0] == 1 and levels.count(1) == 1 and all(b - a <= 1 for a, b in pairwise(levels))


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.thorough)])
@pytest.mark.parametrize("path", EVERYWHERE)
def test_no_rule_of_axe_is_broken(look: Any, path: str, scheme: str) -> None:
    tools.require("axe-core", found=browsers.AXE.exists())
    assert browsers.broken_rules(look(path, color_scheme=scheme)) == []


@pytest.mark.thorough
def test_the_keyboard_alone_gets_everywhere(look: Any) -> None:
    """WCAG 2.2: 2.1.1, 2.4.1 bypass, 2.4.7 focus visible."""
    page = look("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0, "seen while it has the focus"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")
    page.reload()
    stops = []
    for _ in range(60):
        page.keyboard.press("Tab")
        stop = page.evaluate(
            "(() => { const e = document.activeElement; const s = getComputedStyle(e);"
            " return [e.tagName, e.textContent || e.name, s.outlineStyle, parseFloat(s.outlineWidth)]; })()"
        )
        if stop[0] == "BODY":
            break
        stops.append(stop)
    assert all(style == "solid" and width >= 2 for _, _, style, width in stops), "focus is seen on each"
    told = " ".join(text for _, text, _, _ in stops)
    wanted = ("radboud/prostate-cspca", "with", "Compare two selected", "leak detected", "differential privacy", "JSON")
    assert all(words in told for words in wanted)


def test_a_researchers_way_without_a_mouse_or_javascript(look: Any) -> None:
    page = look("/", java_script_enabled=False)
    page.get_by_label("Search embeddings").fill("joint")
    with page.expect_navigation():
        page.get_by_label("Search embeddings").press("Enter")
    assert page.locator("h1").inner_text() == "1 embedding for “joint”"
    page.goto("/")
    follow(page.get_by_role("navigation", name="Filters").get_by_role("link", name="leak detected 1"))
    assert page.locator(".card").count() == 1
    follow(page.get_by_role("list", name="Chosen filters").get_by_role("link"))
    page.get_by_role("checkbox", name=f"Compare {CSPCA[1:]}").check()
    page.get_by_role("checkbox", name=f"Compare {KNEE[1:]}").check()
    follow(page.get_by_role("button", name="Compare two selected"))
    row = page.get_by_role("row", name=re.compile("^Placeholder token"))
    assert row.get_by_role("cell").all_inner_texts()[1:] == ["<effusion>", "<cspca>"][::-1]
    assert "different" in row.inner_text()
    follow(page.get_by_role("link", name=KNEE[1:]).first)
    assert page.locator("h1").inner_text().startswith("knee-effusion")
    assert page.get_by_text("Placeholder token: <effusion>").is_visible()
    page.locator("summary", has_text="Card").click()
    assert page.get_by_text("Intended use", exact=True).is_visible(), "what is folded opens without JavaScript"


def test_a_release_is_four_screens_of_a_telephone(look: Any) -> None:
    """What each of three readers needs is open; claim text, figures, card, files and history are folded."""
    page = look(WMH, width=390)
    assert page.evaluate("document.documentElement.scrollHeight") <= 4 * 900


def test_a_snippet_is_copied(look: Any) -> None:
    page = look(CSPCA, permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").first.click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert "--embedding radboud/prostate-cspca \\\n" in copied and "Copy" not in copied
    assert page.get_by_role("button", name="Copied").count() == 1


@pytest.mark.thorough
def test_a_page_on_paper(look: Any) -> None:
    page = look(CSPCA)
    page.emulate_media(media="print")
    assert not page.get_by_role("button", name="Search").is_visible()
    assert page.get_by_text("publishing key of Radboud").first.is_visible() and page.locator("svg").last.is_visible()
    assert page.pdf()[:5] == b"%PDF-"


def test_pages_of_members_and_of_review(room: Showroom, browser: Any) -> None:
    """Two of the pages that test_organisation_browser.py and test_review_browser.py walk through."""
    said: list[str] = []
    page = browsers.new_page(browser, said, base_url=room.registry.url.replace("127.0.0.1", "localhost"))
    browsers.log_in_by_link(page, room.registry.ask("user", "login-link", "admin")["link"])
    for path, words in (("/account/members", "Members"), ("/account/review", "review")):
        page.goto(path)
        assert words in page.locator("h1").inner_text()
        assert browsers.broken_rules(page) == [] and browsers.width_of(page) <= 1280, path
    page.context.close()
    assert said == []


def test_the_audit_report_keeps_its_own_policy(look: Any) -> None:
    page = look(CSPCA)
    follow(page.get_by_role("link", name=re.compile("Full audit report")))
    assert "Insufficient evidence" in page.locator("body").inner_text()
    assert browsers.width_of(page) <= 1280
    follow(page.get_by_role("navigation", name="Way back").get_by_role("link").last)
    assert page.locator("h1").inner_text().startswith("prostate-cspca")
    assert page.get_by_text("See the newest release").count() == 0, "this is the newest"


@pytest.mark.thorough
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_audit_report_on_a_phone(look: Any, scheme: str) -> None:
    page = look(CSPCA, width=390, color_scheme=scheme)
    follow(page.get_by_role("link", name=re.compile("Full audit report")))
    assert browsers.width_of(page) <= 390
    paper, ink = page.evaluate(
        "['backgroundColor', 'color'].map(name => getComputedStyle(document.body)[name].match(/\\d+/g).map(Number))"
    )
    assert (sum(paper) < 150 < 600 < sum(ink)) if scheme == "dark" else (sum(paper) > 700 and sum(ink) < 200)
