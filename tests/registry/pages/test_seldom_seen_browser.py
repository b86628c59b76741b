"""Pages that few people see, in a real browser: an empty and a closed registry, answers, withdrawals, refusals.

Axe finds nothing in them, light and dark, and nothing sticks out of a narrow screen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.registry.pages.test_web_browser import browser
from tests.support import browsers, evaluations, pushes, releases
from tests.support.browsers import follow
from tests.support.servers import RunningRegistry, running_registry

__all__ = ["browser"]  # a fixture

NAME = releases.REPOSITORY
REASON = "The labels of one centre were swapped, so that the images show the wrong side."


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("seldom-seen")) as made:
        yield made


@pytest.fixture
def tab(registry: RunningRegistry, browser: Any) -> Iterator[Any]:
    """A tab of a fresh profile; what the console says, or a policy blocks, fails the test."""
    said: list[str] = []
    page = browsers.new_page(browser, said, base_url=registry.url.replace("127.0.0.1", "localhost"))
    yield page
    page.context.close()
    assert [line for line in said if "the server responded with a status of" not in line] == []


def publish(registry: RunningRegistry) -> None:
    """A release with an audit, and evaluations by two others."""
    token = registry.add_user("alice", namespace="radboud")
    registry.add_user("lea", namespace="lumc")
    registry.add_key(releases.SITE, namespace="radboud")
    release = releases.make_release(repository=NAME)
    made = registry.request("POST", "/api/repos/create", token=token, json_body={"name": NAME.partition("/")[2]})
    assert made.status == 200 and pushes.commit(registry, NAME, dict(release.files), token=token).status == 200
    for name in ("umcu", "amc"):
        key = evaluations.KEY if name == "umcu" else releases.make_key(name)
        evaluations.publish(registry, release.embedding.digest, namespace=name, key=key)


def gate(registry: RunningRegistry) -> None:
    """Let its files be asked for."""
    for path, body in ((f"/api/models/{NAME}/settings", {"gated": "manual"}),
                       (f"/embhub/v1/terms/{NAME}", {"text": "For research only."})):  # fmt: skip
        assert registry.request("PUT", path, token=registry.admin, json_body=body).status == 200


def enter(tab: Any, registry: RunningRegistry, user: str) -> None:
    browsers.log_in_by_link(tab, registry.ask("user", "login-link", user)["link"])


def visit(tab: Any, registry: RunningRegistry) -> Iterator[str]:
    """Each page in turn, as a person comes to it; yields its name."""
    tab.goto("/")
    assert "Nothing has been published yet" in tab.locator("main").inner_text()
    yield "empty"
    tab.goto("/trust/advisories")
    assert "Nothing was withdrawn" in tab.locator("main").inner_text()
    yield "advisories-none"
    publish(registry)
    tab.goto(f"/{NAME}")
    yield "evaluated"
    follow(tab.get_by_role("link", name=re.compile("Full audit report")))
    yield "audit"
    gate(registry)
    enter(tab, registry, "lea")
    tab.goto(f"/account/access/ask?repository={NAME}")
    tab.get_by_label("I accept these terms").check()
    follow(tab.get_by_role("button", name="Ask for access"))
    enter(tab, registry, "alice")
    tab.goto("/account/access")
    tab.get_by_label("Reason").first.fill("Please name the ethics approval of your study, and ask again.")
    follow(tab.get_by_role("button", name="Decline"))
    yield "access-answered"
    enter(tab, registry, "lea")
    tab.goto("/account/access")
    assert "name the ethics approval" in tab.locator("main").inner_text()
    yield "access-declined"
    tab.goto("/account/members")
    assert tab.locator(".crumbs").inner_text().startswith("403")
    yield "refused-403"
    tab.goto("/radboud/nothing-here")
    assert tab.locator(".crumbs").inner_text().startswith("404")
    yield "refused-404"
    follow(tab.get_by_role("button", name="Log out", exact=True))
    yield from visit_refusals(tab, registry)


def visit_refusals(tab: Any, registry: RunningRegistry) -> Iterator[str]:
    """Withdrawals, too many attempts, and a registry that is closed."""
    registry.run("curate", "yank", NAME, "--reason", REASON)
    tab.goto("/trust/advisories")
    assert REASON in tab.locator("main").inner_text()
    yield "advisories"
    for _ in range(6):
        tab.goto("/login")
        tab.get_by_label("Account name").fill("alice")
        tab.get_by_label("Code, or a recovery code").fill("123456")
        follow(tab.get_by_role("button", name="Log in", exact=True))
    assert tab.locator(".crumbs").inner_text().startswith("429")
    yield "refused-429"
    registry.run("setting", "set", "read.anonymous", "no")
    tab.goto(f"/{NAME}")
    assert NAME not in tab.content() and "needs an access token" in tab.locator("h1").inner_text()
    yield "closed"
    tab.goto("/login")
    yield "closed-login"


@pytest.mark.thorough
def test_pages_seldom_seen_read_well_and_break_no_rule_of_axe(tab: Any, registry: RunningRegistry) -> None:
    found = {}
    for name in visit(tab, registry):
        for scheme in ("dark", "light"):
            tab.emulate_media(color_scheme=scheme)
            if rules := browsers.broken_rules(tab, least=8):
                found[name, scheme] = rules
            browsers.keep_pictures(tab, name, scheme=scheme)
        tab.set_viewport_size({"width": 320, "height": 900})
        assert browsers.width_of(tab) <= 320, name
        tab.set_viewport_size({"width": 1280, "height": 900})
    assert found == {}
