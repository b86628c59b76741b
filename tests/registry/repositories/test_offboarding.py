"""Somebody leaves: what they could do ends at once, releases stay verifiable, and what stays of their name is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from embhub.errors import UsageError
from embhub.release import verification
from embhub.trust.keyring import open_export, parse_export
from embhub_registry.people import invites
from tests.support import pushes, releases
from tests.support.databases import looking_into
from tests.support.people import SESSION, Person
from tests.support.servers import RunningRegistry, running_registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("leaving")) as made:
        made.run("setting", "set", "webhooks", "yes")
        yield made


def rows(registry: RunningRegistry, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with looking_into(registry.folder) as db:
        return [tuple(row) for row in db.execute(statement, values)]


def lines(registry: RunningRegistry, event: str) -> list[dict[str, Any]]:
    read = (json.loads(line) for line in (registry.folder / "audit.jsonl").read_text().splitlines())
    return [line for line in read if line["event"] == event]


def test_everything_by_which_somebody_gets_in_ends_at_once(registry: RunningRegistry) -> None:
    token = registry.add_user("anna", namespace="umcu")
    registry.add_user("bob", namespace="umcu")
    registry.run("user", "mail", "anna", "anna@example.org")
    registry.run("user", "join", "anna", "--namespace", "amc", "--role", "reader")
    anna = Person(registry)
    anna.use_link("anna")
    anna.set_up_app()
    anna.open("/account/notifications")
    fields: dict[str, Any] = {"url": "https://ci.example.org/x", "namespace": "umcu", "release.published": "yes"}
    anna.press("/account/notifications/webhooks", **fields)
    anna.open("/account/publishers")
    fields = {"repository": "umcu/x", "issuer": "https://ci.example.org", "audience": "x", "claims": "sub=1"}
    anna.press("/account/publishers/add", **fields)
    link = registry.ask("user", "login-link", "anna")["link"].removeprefix(registry.url)
    begun = registry.request(
        "POST", "/embhub/v1/device/code", json_body={"client": "x", "scope": "read", "days": "1"}
    ).json()
    anna.open(f"/login/device?code={begun['user_code']}")
    anna.press(f"/login/device?code={begun['user_code']}", answer="approve")
    assert "would end" in registry.run("user", "offboard", "anna", "--dry-run").stdout
    assert registry.get("/api/whoami-v2", token=token).status == 200, "a dry run changes nothing"
    done = registry.ask("user", "offboard", "anna")
    assert {k: v for k, v in done["holds"].items() if v} == {
        "tokens": 1, "sessions": 1, "totp": 1, "webhooks": 1, "memberships": 2, "trusted_publishers": 1
    }  # fmt: skip
    assert registry.get("/api/whoami-v2", token=token).status == 401
    assert "<h1>Log in</h1>" in Person(registry, cookies={SESSION: anna.cookies[SESSION]}).open("/account")
    assert "ended" in Person(registry).open(link, status=403)
    Person(registry).log_in("anna", anna.code(later=1), status=403)
    asked = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": begun["device_code"]}
    assert registry.request("POST", "/embhub/v1/device/token", json_body=asked).status == 400
    [publisher] = registry.ask("repo", "publisher", "list")["publishers"]
    assert publisher["ended"] and done["publishers_ended"] == [f"{publisher['id']} (umcu/x)"]
    [(identity, mail, left)] = rows(registry, "SELECT id, mail, left_at FROM user WHERE name = 'anna'")
    assert mail == "" and left
    for table in (
        "session",
        "login_link",
        "passkey",
        "totp",
        "recovery_code",
        "webhook",
        "membership",
        "device_request",
    ):
        assert rows(registry, f"SELECT 1 FROM {table} WHERE user_id = ?", identity) == [], table
    for words in (("user", "enable", "anna"), ("user", "join", "anna", "--namespace", "umcu", "--role", "reader")):
        assert "has left" in registry.run(*words, check=False).stderr
    [line] = lines(registry, "user-left")
    assert line["user"] == "anna" and line["ended"]["tokens"] == 1


def test_repositories_of_the_last_publisher_are_named_and_handed_over(registry: RunningRegistry) -> None:
    token = registry.add_user("cleo", namespace="erasmus")
    registry.add_user("rita", namespace="erasmus", role="reader")
    registry.run("repo", "publisher", "add", "erasmus/ci", "--issuer", "https://ci.example.org", "--claim", "sub=1")
    for name in ("one", "two"):
        assert pushes.create(registry, f"erasmus/{name}", token=token).status == 200
    refused = registry.run("user", "offboard", "cleo", check=False)
    assert refused.returncode != 0 and "erasmus/one, erasmus/two" in refused.stderr, "a workload is no person"
    assert registry.get("/api/whoami-v2", token=token).status == 200, "nothing was changed"
    for heir in ("nobody", "cleo"):
        assert registry.run("user", "offboard", "cleo", "--hand-over-to", heir, check=False).returncode != 0
    done = registry.ask("user", "offboard", "cleo", "--hand-over-to", "rita")
    assert done["repositories"] == ["erasmus/one", "erasmus/two"] and done["handed_over_to"] == "rita"
    roles = {u["name"]: u["memberships"] for u in registry.ask("user", "list")["users"]}
    assert roles["rita"] == {"erasmus": "publisher"} and roles["cleo"] == {}


def test_the_organisation_can_keep_them(registry: RunningRegistry) -> None:
    token = registry.add_user("dirk", namespace="maastro")
    assert pushes.create(registry, "maastro/one", token=token).status == 200
    registry.run("user", "offboard", "dirk", "--keep")
    assert registry.get("/api/models/maastro/one").status == 200
    [line] = [line for line in lines(registry, "user-left") if line["user"] == "dirk"]
    assert line["kept_without_publisher"] == ["maastro"]


def test_the_last_admin_stays(registry: RunningRegistry) -> None:
    refused = registry.run("user", "offboard", "admin", "--keep", check=False)
    assert refused.returncode != 0 and "without an admin" in refused.stderr
    assert registry.get("/api/whoami-v2", token=registry.admin).status == 200


def test_a_revoked_key_leaves_earlier_releases_verifiable(registry: RunningRegistry) -> None:
    token = registry.add_user("emma", namespace="radboud")
    fingerprint = registry.add_key(releases.SITE, namespace="radboud")
    other = registry.add_key(releases.OTHER_SITE, namespace="radboud")
    release = releases.make_release()
    assert pushes.create(registry, releases.REPOSITORY, token=token).status == 200
    assert pushes.commit(registry, releases.REPOSITORY, dict(release.files), token=token).status == 200
    wrong = registry.run("user", "offboard", "emma", "--keep", "--revoke-key", "SHA256:x", check=False)
    assert wrong.returncode != 0 and registry.get("/api/whoami-v2", token=token).status == 200
    done = registry.ask("user", "offboard", "emma", "--keep", "--revoke-key", fingerprint)
    assert done["keys_revoked"] == [fingerprint]
    assert done["keys_in_force"] == [{"fingerprint": other, "namespace": "radboud"}]
    [row] = [key for key in registry.ask("key", "list")["keys"] if key["fingerprint"] == fingerprint]
    assert row["revoked"]["reason"] == "superseded"
    export = parse_export(registry.get("/embhub/v1/trust").body)
    trust = open_export(export, root_fingerprint=registry.root_fingerprint)
    verified = verification.verify(release, trust=trust, now=datetime.now(UTC))
    assert verified is not None
    assert registry.get(f"/{releases.REPOSITORY}/resolve/main/README.md").status == 200


def test_a_name_is_erased_where_it_may_be(registry: RunningRegistry) -> None:
    token = registry.add_user("fenna", namespace="lumc")
    registry.add_user("gert", namespace="lumc")
    asker = registry.add_user("hans", namespace="amc", role="reader")
    assert pushes.create(registry, "lumc/knee", token=token).status == 200
    settings = {"gated": "manual"}
    assert registry.request("PUT", "/api/models/lumc/knee/settings", token=token, json_body=settings).status == 200
    assert registry.request("POST", "/lumc/knee/ask-access", token=asker, json_body={}).status == 200
    body = {"user": "hans", "status": "accepted"}
    path = "/api/models/lumc/knee/user-access-request/handle"
    assert registry.request("POST", path, token=token, json_body=body).status == 200
    done = registry.ask("user", "offboard", "fenna", "--erase")
    assert done["name"].startswith("former-") and any("commits keep" in words for words in done["kept"])
    assert rows(registry, "SELECT decided_by FROM access WHERE decided_by IN ('fenna', ?)", done["name"]) == [
        (done["name"],)
    ]
    assert rows(registry, "SELECT 1 FROM user WHERE name = 'fenna'") == []
    named = []
    catalogue = {
        "sqlite": "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'search%'",
        "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename <> 'user'",
    }
    with registry.opened() as opened:
        db = opened.database.connection()
        for (table,) in [tuple(row) for row in db.execute(catalogue[db.dialect.name])]:
            named += [table for row in db.execute(f"SELECT * FROM {table}") if "fenna" in tuple(row)]
    assert set(named) == {"revision"}, "what is said to stay, and nothing else"
    [line] = [line for line in lines(registry, "user-left") if line["user"] == done["name"]]
    assert "fenna" not in json.dumps(line) and registry.ask("audit", "verify")["whole"]
    refused = registry.run("user", "add", "fenna", "--namespace", "lumc", "--role", "reader", check=False)
    assert "somebody who has left had this name" in refused.stderr
    with registry.opened() as opened, pytest.raises(UsageError, match="somebody who has left had this name"):
        invites.make(opened, [invites.Wanted("lumc", "reader", "fenna")])
    hans = Person(registry)
    hans.use_link("hans")
    assert "accepted" in hans.open("/account/access"), "what they decided stays"
    gone = registry.ask("user", "offboard", "hans")
    assert gone["holds"]["access"] == 1
    assert rows(registry, "SELECT status, reason FROM access") == [("rejected", "the account has left")]
    again = registry.ask("user", "offboard", "hans", "--erase")
    assert again["name"].startswith("former-") and rows(registry, "SELECT 1 FROM user WHERE name = 'hans'") == []


def test_leaving_a_namespace_ends_the_workloads_that_one_registered_there(registry: RunningRegistry) -> None:
    registry.add_user("ivo", namespace="home")
    registry.run("user", "join", "ivo", "--namespace", "away", "--role", "publisher")
    ivo = Person(registry)
    ivo.use_link("ivo")
    for name in ("home/x", "away/x"):
        ivo.open("/account/publishers")
        fields: dict[str, Any] = {
            "repository": name,
            "issuer": "https://ci.example.org",
            "audience": "x",
            "claims": "sub=1",
        }
        ivo.press("/account/publishers/add", **fields)
    done = registry.ask("user", "leave", "ivo", "--namespace", "away")
    assert len(done["publishers_ended"]) == 1 and "away/x" in done["publishers_ended"][0]
    state = {p["repository"]: p["ended"] for p in registry.ask("repo", "publisher", "list")["publishers"]}
    assert state["away/x"] and not state["home/x"]


def test_the_page_is_for_admins_and_asks_for_the_name(registry: RunningRegistry) -> None:
    registry.add_user("jan", namespace="hmc")
    registry.add_user("kim", namespace="hmc")
    jan, root = Person(registry), Person(registry)
    jan.use_link("jan")
    assert "Members" not in jan.open("/account")
    jan.open("/account/members", status=403)
    jan.open("/account")
    form = {"form_token": jan.form("/account/logout")["form_token"], "user": "kim", "confirm": "kim"}
    assert jan._send("POST", "/account/members/offboard", form).status == 403
    root.use_link("admin")
    assert "publisher in hmc" in root.open("/account/members")
    root.open("/account/members?user=jan")
    assert "What ends at once" in root.page and "Commits keep the name" in root.page
    root.press("/account/members/offboard", confirm="kim", status=400)
    root.open("/account/members?user=jan")
    with looking_into(registry.folder) as db:
        db.execute("UPDATE session SET confirmed = '2026-01-01T00:00:00.000Z' WHERE method = 'link'")
    assert "/login?next=" in str(root.send("/account/members/offboard", confirm="jan").header("location"))
    with looking_into(registry.folder) as db:
        db.execute("UPDATE session SET confirmed = last_used WHERE method = 'link'")
    root.press("/account/members/offboard", confirm="jan", erase="yes")
    assert "jan has left" in root.page and "former-" in root.page
    root.open("/account/members?user=admin")
    assert "You cannot offboard yourself" in root.page
    root.open("/account/members?user=nobody", status=404)
