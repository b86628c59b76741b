"""The review queue in a real browser: found, read, approved; no finding of axe, and no complaint of a policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.registry.pages.test_web_browser import browser
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
