"""The review queue in a real browser: found, read, approved; no finding of axe, and no complaint of a policy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.registry.pages.test_web_browser import browser
from tests.registry.repositories.test_approving import propose_until, until
from tests.support import browsers, releases, reviews
from tests.support.browsers import follow
from tests.support.reviews import NAME, Reviewed

__all__ = ["browser"]  # a fixture


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewed]:
    with reviews.reviewed_registry(tmp_path_factory.mktemp("review-browser"), approvals_needed=2) as made:
        yield made


def propose(house: Reviewed, seed: int, sheet: bytes) -> dict[str, Any]:
    made = releases.make_release(artifact=releases.make_embedding(seed=seed), sheet=sheet, version=f"1.{seed}.0")
    return house.propose(made)


def open_tab(house: Reviewed, browser: Any, user: str, *, said: list[str], **options: Any) -> Any:
    url = house.registry.url.replace("127.0.0.1", "localhost")
    page = browsers.new_page(browser, said, base_url=url, **options)
    browsers.log_in_by_link(page, house.registry.ask("user", "login-link", user)["link"])
    return page


def check(page: Any, name: str) -> None:
    """Axe finds nothing, nothing sticks out of a narrow screen; and a picture where pictures are asked for."""
    assert browsers.broken_rules(page) == []
    for scheme in ("dark", "light"):
        browsers.keep_pictures(page, name, scheme=scheme)
    page.set_viewport_size({"width": 390, "height": 900})
    assert browsers.width_of(page) <= 390, name
    page.set_viewport_size({"width": 1280, "height": 900})


@pytest.mark.thorough
@pytest.mark.slow
def test_two_approvers_release_what_a_publisher_proposed(house: Reviewed, browser: Any) -> None:
    said: list[str] = []
    sheet = releases.make_sheet()
    made = propose(house, 5, sheet)
    olga = open_tab(house, browser, "olga", said=said)
    olga.goto("/account/review")
    check(olga, "queue")
    follow(olga.get_by_role("link", name="Review", exact=False).filter(has_text="1.5.0").last)
    check(olga, "proposal")
    assert made["digest"] in olga.content() and olga.locator("figure.samples img").evaluate("i => i.naturalWidth") > 0
    follow(olga.get_by_role("link", name="Full audit report"))
    assert "AUC" in olga.content()
    olga.goto(f"/account/review/{made['id']}")
    follow(olga.get_by_role("button", name="Approve these files"))
    assert "It waits for another approver." in olga.content()
    check(olga, "approved-once")

    omar = open_tab(house, browser, "omar", said=said, java_script_enabled=False)
    omar.goto(f"/account/review/{made['id']}")
    follow(omar.get_by_role("button", name="Approve these files"))
    assert "was approved and is published" in omar.inner_text("main")
    follow(omar.get_by_role("link", name="open its page"))
    omar.locator("summary", has_text="History").click()
    assert "approved by 2 approvers before it was published" in omar.inner_text("main")

    made = propose(house, 8, sheet)
    olga.goto(f"/account/review/{made['id']}")
    olga.get_by_label("Whom it is for").fill("ethics board")
    follow(olga.get_by_role("button", name="Make a link"))
    check(olga, "reviewer-link-made")
    address = str(olga.locator("pre code").text_content())
    outside = browsers.new_page(browser, said, base_url=house.registry.url.replace("127.0.0.1", "localhost"))
    asked: list[str] = []
    outside.on("request", lambda request: asked.append(f"{request.url} {request.headers.get('referer', '')}"))
    outside.goto("/login/reviewer#" + address.partition("#")[2])
    assert outside.get_by_label("Code").input_value().startswith("rev_") and "#" not in outside.url
    check(outside, "reviewer-code")
    follow(outside.get_by_role("button", name="Show the release"))
    assert made["digest"] in outside.content() and outside.locator("figure.samples img").evaluate("i => i.naturalWidth")
    check(outside, "reviewer")
    follow(outside.get_by_role("link", name="Full audit report"))
    assert "AUC" in outside.content()
    outside.goto("/login/reviewer")
    assert not any("rev_" in line for line in asked), "no address and no Referer has the code"
    olga.goto(f"/account/review/{made['id']}")
    check(olga, "proposal-with-a-link")
    follow(olga.get_by_role("button", name="End the link for ethics board"))
    outside.reload()
    assert "it has ended" in outside.inner_text("main")
    check(outside, "reviewer-link-ended")
    said[:] = [line for line in said if "403" not in line]  # the browser notes the status of the page
    declined = propose(house, 6, sheet)
    olga.goto(f"/account/review/{declined['id']}")
    olga.get_by_label("Reason, if you decline").fill("the card names the wrong scanner")
    follow(olga.get_by_role("button", name="Decline"))
    alice = open_tab(house, browser, "alice", said=said)
    alice.goto(f"/account/review/{declined['id']}")
    assert "The card names the wrong scanner." in alice.content()
    check(alice, "declined")
    propose(house, 7, sheet)
    alice.goto("/account/review")
    check(alice, "queue-of-a-publisher")
    admin = open_tab(house, browser, "admin", said=said)
    admin.goto("/account/review/rules")
    check(admin, "rules")
    assert said == [] and NAME in olga.content()


def in_days(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def move(tab: Any, ends: str) -> None:
    """Change the end of the embargo by the form of its page."""
    tab.get_by_label("End of the embargo, in UTC").fill(ends)
    follow(tab.get_by_role("button", name="Change the embargo"))


def wait_until_published(tab: Any, said: list[str]) -> None:
    """Look again until the server, which looks at embargoes every few seconds, has published it.

    Between a page of the proposal and its sheet the proposal may be published, and the sheet is then the release's: the
    browser notes that status.
    """
    deadline = time.monotonic() + 60
    while "is published" not in tab.inner_text("main"):
        assert time.monotonic() < deadline, tab.inner_text("main")
        tab.wait_for_timeout(500)
        tab.reload()
    said[:] = [line for line in said if not line.startswith(tab.url) or "a status of 404" not in line]


@pytest.mark.thorough
@pytest.mark.slow
def test_an_embargo_is_moved_in_its_page_and_ends_by_the_clock(house: Reviewed, browser: Any) -> None:
    """Nobody else sees it before; what an approver saw of it decides; then it comes out by itself."""
    said: list[str] = []
    made = propose_until(house, reviews.version(51, sheet=releases.make_sheet()), in_days(3))
    here = f"/account/review/{made['id']}"
    olga, omar, alice = (open_tab(house, browser, user, said=said) for user in ("olga", "omar", "alice"))
    reader = browsers.new_page(browser, said, base_url=house.registry.url)
    olga.goto("/account/review")
    assert f"until {made['not_before'][:10]}" in olga.inner_text("main")
    alice.goto(here)
    check(alice, "embargo-of-a-publisher")
    alice.get_by_label("End of the embargo, in UTC").fill("next Tuesday")
    alice.get_by_role("button", name="Change the embargo").click()
    assert alice.url.endswith(here) and alice.locator("#until:invalid").count() == 1, "the browser says so at once"
    later = until(in_days(9))
    move(alice, later)
    olga.goto(here)
    assert later[:10] in olga.inner_text("main") and olga.get_by_label("End of the embargo").count() == 0
    omar.goto(here)
    follow(olga.get_by_role("button", name="Approve these files"))
    assert "It waits for another approver." in olga.inner_text("main")
    move(alice, until(in_days(1)))
    assert "0 of 2" in alice.inner_text("main"), "who approved had seen another end"
    follow(omar.get_by_role("button", name="Approve these files"))
    assert "The embargo of this proposal was changed" in omar.inner_text("h1")
    check(omar, "embargo-changed-meanwhile")
    follow(omar.get_by_role("link", name="Back to the form"))
    assert omar.url.endswith(here)
    olga.reload()
    for tab in (olga, omar):
        follow(tab.get_by_role("button", name="Approve these files"))
    assert "It waits for the end of its embargo." in omar.inner_text("main")
    check(omar, "embargo-approved")
    reader.goto(f"/{NAME}")
    assert "1.51.0" not in reader.content()
    reader.goto(here)
    assert reader.inner_text("h1") == "Log in"
    alice.goto(here)
    move(alice, "now")
    for tab in (olga, omar):
        tab.goto(here)
        follow(tab.get_by_role("button", name="Approve these files"))
    wait_until_published(omar, said)
    reader.goto(f"/{NAME}")
    assert "1.51.0" in reader.inner_text("h1")
    assert [line for line in said if "the server responded with a status of 409" not in line] == []


@pytest.mark.thorough
@pytest.mark.slow
def test_an_embargo_where_nobody_has_to_approve_says_what_it_waits_for(house: Reviewed, browser: Any) -> None:
    said: list[str] = []
    house.registry.run("curate", "review", "set", "radboud", "--approvals", "0")
    try:
        made = propose_until(house, reviews.version(52, sheet=releases.make_sheet()), in_days(3))
        alice = open_tab(house, browser, "alice", said=said)
        alice.goto("/account/review")
        assert "no approval needed" in alice.inner_text("main") and "0 of 0" not in alice.inner_text("main")
        alice.goto(f"/account/review/{made['id']}")
        words = alice.inner_text("main")
        assert "It is published when its embargo ends." in words and "Another person" not in words
        assert "0 of 0" not in words and "once it is approved" not in words
        check(alice, "embargo-without-approvals")
        move(alice, "now")
        wait_until_published(alice, said)
        assert "approved" not in alice.locator(".lead").inner_text()
        check(alice, "embargo-over")
    finally:
        house.registry.run("curate", "review", "set", "radboud", "--approvals", "2")
    assert said == []
