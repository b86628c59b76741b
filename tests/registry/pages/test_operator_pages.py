"""The operator's page: what it states is what the commands state; admins alone see it, and it changes nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from embhub.release.files import EMBEDDING
from tests.support import releases
from tests.support.databases import looking_into
from tests.support.people import Person
from tests.support.servers import RunningRegistry, running_registry
from tests.support.statics import publish


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("operator")) as made:
        made.add_key(releases.SITE, namespace="radboud")
        publish(made, "prostate-cspca", token=made.add_user("alice", namespace="radboud"))
        made.run("quota", "set", "radboud", "--bytes", "1000000", "--releases", "1")
        yield made


def rows(person: Person) -> dict[str, str]:
    """The words beside each name, of the first list that has it."""
    found: dict[str, str] = {}
    for name, words in re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", person.page, re.S):
        found.setdefault(name, re.sub(r"<[^>]+>", "", words).strip())
    return found


def test_it_states_what_the_commands_state(registry: RunningRegistry) -> None:
    admin = Person(registry)
    admin.use_link("admin")
    assert 'href="/operator"' in admin.open("/account")
    admin.open("/operator")
    ready = registry.get("/readyz").json()
    assert ready.pop("ready") and "Ready" in admin.text()
    assert {name.capitalize() for name in ready} <= rows(admin).keys()
    said = next(row for row in registry.ask("quota", "show")["namespaces"] if row["namespace"] == "radboud")
    card = admin.text().partition("Storage by namespace")[2].partition("radboud")[2]
    assert f"{said['bytes']['used'] / 1000:.1f} kB of 1.0 MB" in card, card
    assert "Releases 1 of 1: nearly full" in card and "Repositories 1 of 1,000" in card
    with looking_into(registry.folder) as db:
        held = db.execute(
            "SELECT count(DISTINCT digest) FROM entry JOIN repository ON repository.id = repository_id"
            " WHERE namespace = 'radboud'"
        ).fetchone()[0]
    assert f"Objects {held}" in card
    overview = registry.ask("show")
    assert f"version {overview['keyring_version']} of" in rows(admin)["Keyring"]
    assert rows(admin)["Last backup"] == "none is known" and rows(admin)["Waiting"].startswith("0 messages, 0 tried")
    assert int(rows(admin)["Log"].split()[0].replace(",", "")) == registry.ask("log", "show")["entries"]
    assert EMBEDDING not in admin.page and "<form" not in admin.page.partition("<main")[2]


def test_a_backup_and_a_message_that_fails_are_shown(registry: RunningRegistry) -> None:
    registry.run("backup", "make", registry.folder.parent / "copy.tar.gz")
    with looking_into(registry.folder) as db:
        db.execute("INSERT INTO event (id, kind, namespace, repository, private, created, data)"
                   " VALUES ('e', 'key.changed', 'radboud', '', 0, '2099-01-01T00:00:00.000Z', '{}')")  # fmt: skip
        db.execute("INSERT INTO delivery (id, event_id, user_id, attempts, due)"
                   " VALUES ('d', 'e', 1, 2, '2099-01-01T00:00:00.000Z')")  # fmt: skip
    admin = Person(registry)
    admin.use_link("admin")
    admin.open("/operator")
    assert "just now" in rows(admin)["Last backup"]
    assert rows(admin)["Waiting"] == "1 message, 1 tried without success"


def test_an_admin_changes_limits_and_proves_again_who_they_are(registry: RunningRegistry) -> None:
    here = "/account/quotas?namespace=radboud"
    registry.run("quota", "set", "radboud", "--bytes", "1000000", "--releases", "1")
    admin = Person(registry)
    admin.use_link("admin")
    assert 'href="/account/quotas?namespace=radboud"' in admin.open("/operator")
    admin.open(here)
    assert 'value="1000000"' in admin.page and "limit, 1,000" in admin.page
    admin.press(here, bytes="2500000", releases="", repositories="7")
    (said,) = [row for row in registry.ask("quota", "show")["namespaces"] if row["namespace"] == "radboud"]
    assert (said["bytes"]["allowed"], said["repositories"]["allowed"]) == (2500000, 7)
    default = next(row for row in registry.ask("quota", "show")["namespaces"] if row["namespace"] != "radboud")
    assert said["releases"]["allowed"] == default["releases"]["allowed"], "the registry's again"
    line = [json.loads(line) for line in (registry.folder / "audit.jsonl").read_text().splitlines()][-1]
    assert (line["event"], line["user"], line["max_bytes"], line["max_releases"]) == (
        "quota-set", "admin", 2500000, None,
    )  # fmt: skip
    for wrong in ("-1", "1e9", "x", "9" * 19, "٣"):
        assert admin.open(here) and admin.send(here, bytes=wrong).status == 400, wrong
    admin.open("/account/quotas?namespace=nobody", status=404)
    admin.open(here)
    with looking_into(registry.folder) as db:
        db.execute("UPDATE session SET confirmed = '2026-01-01T00:00:00.000Z'")
    answer = admin.send(here, bytes="1", releases="", repositories="")
    assert answer.status == 303 and str(answer.header("location")).startswith("/login?next=")
    (said,) = [row for row in registry.ask("quota", "show")["namespaces"] if row["namespace"] == "radboud"]
    assert said["bytes"]["allowed"] == 2500000


def test_nobody_else_sees_or_changes_limits(registry: RunningRegistry) -> None:
    here = "/account/quotas?namespace=radboud"
    alice = Person(registry)
    alice.use_link("alice")
    alice.open(here, status=403)
    alice.open("/account")
    form = alice.form("/account/tokens")
    cookies = "; ".join(f"{name}={value}" for name, value in alice.cookies.items())
    headers = {"Cookie": cookies, "Origin": registry.url, "Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode({**form, "bytes": "1", "releases": "", "repositories": ""}).encode()
    before = registry.ask("quota", "show")
    assert registry.request("POST", here, headers=headers, body=body).status == 403
    assert registry.request("POST", here, token=registry.admin, body=body).status in (401, 403), "no token"
    assert registry.ask("quota", "show") == before


def test_others_see_nothing_of_it(registry: RunningRegistry) -> None:
    alice = Person(registry)
    alice.use_link("alice")
    assert "/operator" not in alice.open("/account")
    alice.open("/operator", status=403)
    assert registry.get("/operator", headers={"Accept": "text/html"}).status == 303, "to the login page"
    refused = registry.run("user", "add", "x", "--namespace", "operator", "--role", "publisher", check=False)
    assert refused.returncode != 0 and "reserved" in refused.stderr
