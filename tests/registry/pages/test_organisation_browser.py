"""Trusted publishers, notifications and members in a real browser: forms by their labels, axe, narrow screens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.registry.pages.test_web_browser import browser
from tests.support import browsers
from tests.support.browsers import follow
from tests.support.databases import looking_into
from tests.support.servers import RunningRegistry, running_registry

__all__ = ["browser"]  # a fixture


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("organisation")) as made:
        made.add_user("anna", namespace="radboud")
        yield made


@pytest.fixture
def tab(registry: RunningRegistry, browser: Any) -> Iterator[Any]:
    """A tab of a fresh profile; what the console says, or a policy blocks, fails the test."""
    said: list[str] = []
    page = browsers.new_page(browser, said, base_url=registry.url.replace("127.0.0.1", "localhost"))
    yield page
    page.context.close()
    assert said == []


def enter(tab: Any, registry: RunningRegistry, user: str) -> None:
    browsers.log_in_by_link(tab, registry.ask("user", "login-link", user)["link"])


def visit(tab: Any, registry: RunningRegistry, leaver: str) -> Iterator[str]:
    """Each page in turn, by the buttons that a person presses."""
    registry.run("setting", "set", "webhooks", "no")
    registry.run("user", "mail", "anna")
    enter(tab, registry, "anna")
    tab.goto("/account/publishers")
    tab.get_by_label("Repository", exact=True).fill("radboud/prostate-cspca")
    tab.get_by_label("Issuer").fill("https://token.actions.githubusercontent.com")
    tab.get_by_label("Required claims").fill("repository_id=123456\nref=refs/heads/main")
    follow(tab.get_by_role("button", name="Add"))
    assert "workload-" in tab.locator("main").inner_text()
    yield "publishers"
    tab.goto("/account/notifications")
    yield "notifications-off"
    registry.run("setting", "set", "webhooks", "yes")
    registry.run("setting", "set", "mail.server", "127.0.0.1:9")
    registry.run("setting", "set", "mail.from", "hub@example.org")
    registry.run("user", "mail", "anna", "anna@example.org")
    tab.goto("/account/notifications")
    yield "notifications-empty"
    tab.get_by_label("Address").fill("https://ci.example.org/embhub/with/a/rather/long/path/for/a/narrow/screen")
    follow(tab.get_by_role("button", name="Add", exact=True))
    assert "whsec_" in tab.locator("main").inner_text()
    yield "webhook-made"
    follow(tab.get_by_role("link", name="I have copied it"))
    with looking_into(registry.folder) as db:
        db.execute(
            "UPDATE webhook SET disabled = '2026-11-20T00:00:00.000Z', failing_since = '2026-11-18T00:00:00.000Z',"
            " problem = 'it answered with status 500'"
        )
    tab.reload()
    assert "Disabled on" in tab.locator("main").inner_text()
    yield "notifications-disabled"
    follow(tab.get_by_role("button", name="Enable"))
    follow(tab.get_by_role("button", name="Remove"))
    enter(tab, registry, "admin")
    tab.goto("/account/members")
    yield "members"
    follow(tab.get_by_role("link", name="Operation"))
    words = tab.locator("main").inner_text()
    assert "Ready" in words and "Last backup" in words and "radboud" in words
    yield "operator"
    follow(tab.get_by_role("link", name="Change limits of radboud"))
    tab.get_by_label("Storage, in bytes").fill("5000000")
    tab.get_by_label("Releases").fill("12")
    follow(tab.get_by_role("button", name="Set the limits"))
    assert tab.get_by_label("Releases").input_value() == "12"
    yield "quotas"
    follow(tab.get_by_role("link", name="Operation"))
    assert "of 5.0 MB" in tab.locator("main").inner_text()
    tab.goto("/account/members")
    follow(tab.get_by_role("link", name=f"Offboard {leaver}"))
    yield "offboard"
    tab.get_by_label("Type the name to confirm").fill(leaver)
    tab.get_by_label("Put a pseudonym").check()
    tab.get_by_label("Keep without a publisher").check()
    follow(tab.get_by_role("button", name="Offboard"))
    assert f"{leaver} has left" in tab.locator("h1").inner_text()
    yield "member-left"


@pytest.mark.thorough
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.thorough)])
def test_pages_of_an_organisation_break_no_rule_of_axe(tab: Any, registry: RunningRegistry, scheme: str) -> None:
    tab.emulate_media(color_scheme=scheme)
    registry.add_user(f"leaver-{scheme}", namespace=f"space-{scheme}")
    told = {}
    for name in visit(tab, registry, f"leaver-{scheme}"):
        for width in (390, 320):
            tab.set_viewport_size({"width": width, "height": 900})
            assert browsers.width_of(tab) <= width, name
        browsers.keep_pictures(tab, name, scheme=scheme)
        tab.set_viewport_size({"width": 1280, "height": 900})
        if rules := browsers.broken_rules(tab):
            told[name] = rules
    assert told == {}
