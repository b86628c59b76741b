"""Login at an OpenID provider in a real browser: there and back, groups, refusals, proof again, logging out.

The registry is `localhost` and the provider `127.0.0.1`, so that the browser comes back from another site, as it does
in a consortium: cookies that are Strict stay out of that request.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from tests.registry.pages.test_web_browser import browser
from tests.registry.people.test_provider import served, tell
from tests.support import browsers
from tests.support.browsers import follow
from tests.support.servers import RunningRegistry

__all__ = ["browser", "served"]  # fixtures

Served = tuple[RunningRegistry, str]
BUTTON = "Continue at 127.0.0.1"


@pytest.fixture
def tab(served: Served, browser: Any) -> Iterator[Any]:
    """A tab of a fresh profile; what the console says, or a policy blocks, fails the test."""
    said: list[str] = []
    page = browsers.new_page(browser, said, base_url=served[0].url.replace("127.0.0.1", "localhost"))
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    yield page
    page.context.close()
    assert [line for line in said if "the server responded with a status of" not in line] == []


def check(page: Any, name: str) -> None:
    """Axe finds nothing, nothing sticks out of a narrow screen; and a picture where pictures are asked for."""
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        assert browsers.broken_rules(page) == [], name
        browsers.keep_pictures(page, name, scheme=scheme)
    page.set_viewport_size({"width": 320, "height": 900})
    assert browsers.width_of(page) <= 320, name
    page.set_viewport_size({"width": 1280, "height": 900})


def go_to_provider(tab: Any, *, lands: str) -> dict[str, list[str]]:
    """Press the button, and wait for where the provider sends the browser; returns what the provider was asked."""
    tab.asked.clear()
    tab.get_by_role("button", name=BUTTON).click()
    tab.wait_for_url(lands)
    [address] = [url for url in tab.asked if urlsplit(url).path == "/authorize"]
    return parse_qs(urlsplit(address).query)


@pytest.mark.thorough
def test_groups_let_in_and_a_change_of_rights_asks_the_provider_again(served: Served, tab: Any) -> None:
    registry, _ = served
    who = {"sub": "s-hanna", "preferred_username": "Hanna.Bos@example.org", "groups": ["radiology", "everybody"]}
    tell(served, claims={**who, "auth_time": 1_700_000_000})
    tab.goto("/login")
    check(tab, "provider-login")
    assert "prompt" not in go_to_provider(tab, lands="**/account")
    main = tab.locator("main")
    assert "Logged in as hanna.bos: publisher in radboud." in main.inner_text()
    cookies = {cookie["name"]: cookie for cookie in tab.context.cookies()}
    assert cookies["__Host-embhub-session"]["sameSite"] == "Strict" and "__Host-embhub-flow" not in cookies
    check(tab, "provider-account")
    tab.goto("/account/login")
    assert "your organisation’s provider" in main.inner_text()
    assert tab.get_by_role("button", name="Add a passkey").count() == 0
    check(tab, "provider-login-methods")

    tab.goto("/account")
    tab.get_by_label("What it is for").fill("laptop")
    follow(tab.get_by_role("button", name="Make a token"))
    assert tab.locator("h1").inner_text() == "Confirm that it is you"
    assert tab.locator("main form").count() == 1, "no other way in is offered: none would work"
    check(tab, "provider-confirm")
    tell(served, claims={**who, "sub": "s-somebody-else"})
    asked = go_to_provider(tab, lands="**/login/provider/callback?**")
    assert asked["prompt"] == ["login"] and asked["max_age"] == ["0"]
    assert "names somebody else" in tab.locator("h1").inner_text()
    check(tab, "provider-somebody-else")
    tell(served, claims=who)
    tab.goto("/login")
    go_to_provider(tab, lands="**/account")
    tab.get_by_label("What it is for").fill("laptop")
    follow(tab.get_by_role("button", name="Make a token"))
    secret = tab.locator("pre code").inner_text()
    assert registry.get("/api/whoami-v2", token=secret).status == 200

    follow(tab.get_by_role("button", name="Log out", exact=True).first)
    assert tab.get_by_role("link", name="Log in").count() == 1
    assert "__Host-embhub-session" not in {cookie["name"] for cookie in tab.context.cookies()}
    tab.goto("/account")
    assert tab.locator("h1").inner_text() == "Log in"


@pytest.mark.thorough
def test_a_group_that_no_rule_names_is_refused_in_words(served: Served, tab: Any) -> None:
    tell(served, claims={"sub": "s-nemo", "preferred_username": "nemo", "groups": ["everybody"]})
    tab.goto("/login")
    go_to_provider(tab, lands="**/login/provider/callback?**")
    assert "None of your groups" in tab.locator("h1").inner_text()
    assert "__Host-embhub-session" not in {cookie["name"] for cookie in tab.context.cookies()}
    check(tab, "provider-no-group")
    follow(tab.get_by_role("link", name="To the login page"))
    assert tab.get_by_role("button", name=BUTTON).count() == 1


@pytest.mark.thorough
def test_a_login_leads_back_to_the_page_that_it_was_begun_from(served: Served, tab: Any) -> None:
    """By the links of the pages alone; a link that names another host leads to the account page."""
    registry, provider = served
    own = registry.url.replace("127.0.0.1", "localhost")
    tell(served, claims={"sub": "s-nemo", "groups": ["everybody"]})
    tab.goto("/?q=prostate&sort=name")
    follow(tab.get_by_role("link", name="Log in"))
    go_to_provider(tab, lands="**/login/provider/callback?**")
    follow(tab.get_by_role("link", name="To the login page"))
    tell(served, claims={"sub": "s-iris", "preferred_username": "iris", "groups": ["guests"]})
    go_to_provider(tab, lands="**/?q=prostate**")
    assert tab.url == f"{own}/?q=prostate&sort=name"
    assert tab.get_by_role("link", name="iris").count() == 1
    for evil in (f"//{provider.partition('//')[2]}/jwks", f"/\\{provider.partition('//')[2]}/jwks"):
        follow(tab.get_by_role("button", name="Log out", exact=True).first)
        tab.goto(f"/login?next={quote(evil)}")
        go_to_provider(tab, lands="**/account")
        assert tab.url == f"{own}/account"
