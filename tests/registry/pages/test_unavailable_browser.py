"""What people see while a registry cannot answer, in a real browser: no database, a server that stops.

Each answer is a page in words with a way to try again, and none of them needs what is away.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embhub_registry.storage import configuration
from tests.registry.database.test_postgresql import make
from tests.registry.database.test_postgresql_limits import own_server
from tests.registry.operation.test_stopping import start
from tests.registry.pages.test_web_browser import browser
from tests.support import browsers
from tests.support.browsers import follow
from tests.support.postgres import Server
from tests.support.servers import init_registry

__all__ = ["browser", "own_server"]  # fixtures
pytestmark = pytest.mark.thorough


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """A tab of a fresh profile; what the console says, or a policy blocks, fails the test."""
    said: list[str] = []
    page = browsers.new_page(browser, said)
    yield page
    page.context.close()
    assert [line for line in said if "the server responded with a status of" not in line] == []


def check(page: Any, name: str) -> None:
    """Axe finds nothing, nothing sticks out of a narrow screen; and a picture where pictures are asked for."""
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        assert browsers.broken_rules(page, least=8) == [], name
        browsers.keep_pictures(page, name, scheme=scheme)
    page.set_viewport_size({"width": 320, "height": 900})
    assert browsers.width_of(page) <= 320, name
    page.set_viewport_size({"width": 1280, "height": 900})


@pytest.mark.slow
def test_without_its_database_a_page_says_so_and_works_again_after(
    own_server: Server, tmp_path: Path, tab: Any
) -> None:
    running = make(own_server, tmp_path / "r")
    running.start()
    own = running.url
    try:
        tab.goto(f"{own}/trust")
        own_server.stop(signal.SIGQUIT)
        for path in ("/trust", "/?q=prostate", "/radboud/none", "/login", "/account", "/no/such/address/here"):
            answer = tab.goto(f"{own}{path}")
            assert answer.status == 503 and int(answer.headers["retry-after"]) > 0, path
            assert "database" in tab.locator("h1").inner_text(), path
            assert str(own_server.folder) not in tab.content(), "where it is, is the operator's to know"
        check(tab, "unavailable-database")
        tab.goto(f"{own}/trust?of=now")
        again = tab.get_by_role("link", name="Try again")
        follow(again)
        assert "database" in tab.locator("h1").inner_text(), "it is still away"
        own_server.start()
        follow(again)
        assert tab.url == f"{own}/trust?of=now" and running.root_fingerprint in tab.content()
    finally:
        running.stop()
        if own_server.process is None:
            own_server.start()


def test_while_it_drains_pages_are_answered_and_what_is_cut_off_is_told(tmp_path: Path, tab: Any) -> None:
    """A login waits for a provider that hangs, while the server is stopped; without its script there is no page."""
    registry = init_registry(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        with registry.opened() as opened:
            configuration.write(opened, "oidc.issuer", f"http://127.0.0.1:{hanging.getsockname()[1]}")
            configuration.write(opened, "oidc.client_id", "hub")
            configuration.write(opened, "outgoing.hosts", "127.0.0.1")
        # both end before the five seconds that the provider is given
        process = start(registry, "--drain-seconds", "3", "--grace-seconds", "0.5")
        try:
            own = registry.url
            tab.goto(f"{own}/login?next=/trust")
            process.send_signal(signal.SIGTERM)
            tab.goto(f"{own}/login?next=/trust")
            assert registry.get("/readyz").status == 503 and tab.locator("h1").inner_text() == "Log in"
            follow(tab.get_by_role("button", name="Continue at"))
            assert "being stopped" in tab.locator("h1").inner_text()
            assert tab.get_by_role("link", name="Try again").get_attribute("href") == "/login?next=/trust"
            check(tab, "unavailable-stopping")
        finally:
            registry.stop(how=signal.SIGKILL)
