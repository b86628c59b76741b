"""The first tasks of five users, each by the pages and the commands that they would use, at one registry.

A hospital's engineer, its data-protection officer, a researcher, a consortium's IT lead, an auditor. Asking for
access, approving, reviewing and withdrawing need pages alone.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from embhub.__main__ import main
from embhub.client.account import device_login
from tests.registry.pages.test_web_browser import browser
from tests.support import browsers, pushes, releases, reviews
from tests.support.browsers import follow
from tests.support.reviews import NAME, Reviewed
from tests.support.sites import Site, new_key

__all__ = ["browser"]  # a fixture
pytestmark = pytest.mark.thorough
OpenTab = Callable[..., Any]
GATED = "lumc/knee-effusion"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewed]:
    """Releases of radboud need two approvals; lumc gates one of its repositories."""
    with reviews.reviewed_registry(tmp_path_factory.mktemp("first-tasks"), approvals_needed=2) as made:
        registry = made.registry
        registry.add_key(releases.OTHER_SITE, namespace="lumc")
        assert pushes.create(registry, GATED, token=made.lea).status == 200
        path, terms = f"/api/models/{GATED}/settings", {"text": "For research only."}
        assert registry.request("PUT", path, token=made.lea, json_body={"gated": "manual"}).status == 200
        assert registry.request("PUT", f"/embhub/v1/terms/{GATED}", token=made.lea, json_body=terms).status == 200
        gated = releases.make_release(
            repository=GATED, key=releases.OTHER_SITE, name="knee-effusion", artifact=releases.make_embedding(seed=70)
        )
        assert pushes.commit(registry, GATED, dict(gated.files), token=made.lea).status == 200
        yield made


@pytest.fixture(scope="module")
def open_tab(house: Reviewed, browser: Any) -> Iterator[OpenTab]:
    """The browser where somebody is logged in, or nobody; what a console says, or a policy blocks, fails the tests."""
    said: list[str] = []
    tabs: dict[str | None, Any] = {}

    def find(user: str | None = None) -> Any:
        if user not in tabs:
            url = house.registry.url.replace("127.0.0.1", "localhost")
            tabs[user] = browsers.new_page(browser, said, base_url=url)
            if user is not None:
                browsers.log_in_by_link(tabs[user], house.registry.ask("user", "login-link", user)["link"])
        return tabs[user]

    yield find
    for tab in tabs.values():
        tab.context.close()
    assert said == []


@pytest.fixture
def site(house: Reviewed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A machine that trusts the registry, where nobody is logged in."""
    made = Site(tmp_path / "site", house.registry.url).enter(monkeypatch)
    monkeypatch.delenv("EMBHUB_TOKEN")
    made.trust(house.registry)
    return made


def run(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> str:
    """`embhub WORDS`; what it printed."""
    found = main([str(word) for word in words])
    said = capsys.readouterr()
    assert found == code, said.out + said.err
    return said.out + said.err


def log_in(house: Reviewed, tab: Any, scope: str) -> None:
    """`embhub login --device`, approved in the tab while the command waits in another thread."""
    shown: list[device_login.Prompt] = []
    failed: list[BaseException] = []

    def wait() -> None:
        try:
            device_login.log_in(
                house.registry.url, scope=scope, show=shown.append, sleep=lambda seconds: time.sleep(min(seconds, 0.5))
            )
        except BaseException as error:  # noqa: BLE001  # raised where the test sees it
            failed.append(error)

    program = threading.Thread(target=wait)
    program.start()
    deadline = time.monotonic() + 30
    while not shown and not failed and time.monotonic() < deadline:
        time.sleep(0.05)
    tab.goto(f"/login/device?code={shown[0].code}")
    assert shown[0].code in tab.locator("main").inner_text().replace(" ", "")
    follow(tab.get_by_role("button", name="Approve"))
    program.join(timeout=60)
    assert not program.is_alive() and failed == []


def withdraw(tab: Any, version: str, reason: str) -> None:
    """From the page of the embedding, by its link."""
    tab.goto(f"/{NAME}")
    follow(tab.get_by_role("link", name=re.compile("Withdraw")))
    tab.get_by_label("Version", exact=True).select_option(version)
    tab.get_by_label("Reason, which is public").fill(reason)
    follow(tab.get_by_role("button", name="Withdraw", exact=True))
    assert reason in tab.locator("main").inner_text().lower()


def test_an_engineer_proposes_a_release(
    house: Reviewed, open_tab: OpenTab, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """Log in from the command line, sign, push; the queue shows what waits, and nobody else sees it."""
    tab = open_tab("alice")
    log_in(house, tab, "publish")
    assert "logged in as alice" in run(capsys, "doctor")
    new_key(house.registry, namespace="radboud")
    run(capsys, "trust", "refresh")
    run(capsys, "push", site.make(seed=31, version="2.1.0"), NAME)
    tab.goto("/account/review")
    assert f"{NAME} 2.1.0" in tab.locator("main").inner_text()
    assert "2.1.0" not in json.dumps(json.loads(run(capsys, "search", "--json")))
    stranger = open_tab()
    stranger.goto(f"/{NAME}")
    assert "2.1.0" not in stranger.content()


def test_officers_review_approve_and_withdraw_in_pages_alone(house: Reviewed, open_tab: OpenTab) -> None:
    """Evidence, digest, two persons; then the publisher withdraws one version and the operator another."""
    made = house.propose(reviews.version(41))
    olga, omar, alice, admin, reader = (open_tab(user) for user in ("olga", "omar", "alice", "admin", None))
    for officer in (olga, omar):
        officer.goto("/account/review")
        follow(officer.get_by_role("link", name=f"{NAME} 1.41.0").first)
        assert made["digest"] in officer.content() and "Audit" in officer.locator("main").inner_text()
        reader.goto(f"/{NAME}")
        assert "1.41.0" not in reader.content(), "not before both approved"
        follow(officer.get_by_role("button", name="Approve these files"))
    reader.goto(f"/{NAME}")
    assert "1.41.0" in reader.locator("h1").inner_text()
    reader.locator("summary", has_text="History").click()
    assert "approved by 2 approvers before it was published" in reader.locator("main").inner_text()
    withdraw(alice, "1.41.0", "labels of one centre were swapped")
    reader.goto(f"/{NAME}/commit/{house.registry.get(f'/embhub/v1/status/{NAME}').json()['yanked'][0]['revision']}")
    assert "radboud yanked this release" in reader.locator("main").inner_text().lower()
    withdraw(admin, "1.0.0", "under investigation")
    by = {row["version"]: row["by"] for row in house.registry.get(f"/embhub/v1/status/{NAME}").json()["yanked"]}
    assert by == {"1.41.0": "publisher", "1.0.0": "operator"}
    for tab, version in ((alice, "1.41.0"), (admin, "1.0.0")):
        tab.goto(f"/account/withdraw?repository={NAME}")
        follow(tab.get_by_role("button", name=f"Recommend again {version}"))
    assert house.registry.get(f"/embhub/v1/status/{NAME}").json()["yanked"] == []


def test_an_operator_sets_a_version_aside_and_shows_it_again(house: Reviewed, open_tab: OpenTab) -> None:
    """The pages about quarantine and withdrawing, with something in them: no finding of axe, no sideways scrolling."""
    tab = open_tab("admin")
    tab.goto(f"/account/quarantine?repository={GATED}")
    look_at(tab, "quarantine")
    tab.get_by_label(re.compile("^Reason")).fill("a reader saw a known face")
    follow(tab.get_by_role("button", name="Set aside"))
    look_at(tab, "quarantine-with-a-version")
    follow(tab.get_by_role("button", name="Show again"))
    assert tab.get_by_role("button", name="Show again").count() == 0
    tab.goto(f"/account/withdraw?repository={GATED}")
    look_at(tab, "withdraw-a-version")


def look_at(tab: Any, name: str) -> None:
    assert browsers.broken_rules(tab) == []
    for scheme in ("dark", "light"):
        browsers.keep_pictures(tab, name, scheme=scheme)
    tab.set_viewport_size({"width": 390, "height": 900})
    assert browsers.width_of(tab) <= 390, name
    tab.set_viewport_size({"width": 1280, "height": 900})


def test_a_researcher_asks_and_pulls(
    house: Reviewed, open_tab: OpenTab, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """Found by search, refused, asked for in a page, let in by a page, pulled and verified."""
    tab, publisher = open_tab("rita"), open_tab("lea")
    tab.goto("/")
    tab.get_by_label("Search embeddings").fill("knee")
    with tab.expect_navigation():
        tab.get_by_label("Search embeddings").press("Enter")
    follow(tab.get_by_role("link", name=GATED).first)
    log_in(house, tab, "read")
    run(capsys, "pull", GATED, code=5)
    tab.goto(f"/account/access/ask?repository={GATED}")
    tab.get_by_label("I accept these terms").check()
    follow(tab.get_by_role("button", name="Ask for access"))
    publisher.goto("/account/access")
    assert "rita" in publisher.locator("main").inner_text()
    follow(publisher.get_by_role("button", name=re.compile("^Accept")).first)
    tab.goto("/account/access")
    assert "accepted" in tab.locator("main").inner_text()
    run(capsys, "pull", GATED, "--out", "pulled")
    assert "verified" in run(capsys, "verify", "pulled").lower()


def test_an_it_lead_invites_twelve_and_sees_them(
    house: Reviewed, open_tab: OpenTab, site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table of twelve hospitals, twelve joins, twelve members in the page, a limit for one, health in words."""
    table = site.folder / "sites.csv"
    rows = [f"hospital{number:02d},reader,it-{number:02d}" for number in range(12)]
    table.write_text("namespace,role,account\n" + "\n".join(rows) + "\n")
    made = house.registry.ask("invite", "table", table)["invites"]
    for number, row in enumerate(made):
        Site(site.folder / f"hospital{number:02d}", house.registry.url).enter(monkeypatch)
        monkeypatch.delenv("EMBHUB_TOKEN")
        run(capsys, "login", "--invite", row["invite"])
    assert "logged in as it-11" in run(capsys, "doctor")
    tab = open_tab("admin")
    tab.goto("/account/members")
    said = tab.locator("main").inner_text()
    assert all(f"it-{number:02d}" in said for number in range(12))
    follow(tab.get_by_role("link", name="Operation"))
    assert "Ready" in tab.locator("main").inner_text()
    follow(tab.get_by_role("link", name="Change limits of hospital03"))
    tab.get_by_label("Releases").fill("3")
    follow(tab.get_by_role("button", name="Set the limits"))
    found = {row["namespace"]: row for row in house.registry.ask("quota", "show")["namespaces"]}
    assert found["hospital03"]["releases"]["allowed"] == 3


def test_an_auditor_trusts_nobody(
    house: Reviewed, open_tab: OpenTab, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fingerprint in the page is the pinned one; a release verifies, the log too, and one changed word is found."""
    tab = open_tab()
    tab.goto("/trust")
    assert house.registry.root_fingerprint in tab.locator("main").inner_text()
    run(capsys, "pull", f"{NAME}@1.0.0", "--out", "pulled")
    run(capsys, "verify", "pulled")
    run(capsys, "log", "verify", house.registry.url)
    tab.goto(f"/{NAME}")
    assert "1.0.0" in tab.locator("main").inner_text()
    card = site.folder / "pulled" / "README.md"
    card.write_text(card.read_text().replace("prostate", "prostrate", 1))
    run(capsys, "verify", "pulled", code=4)
