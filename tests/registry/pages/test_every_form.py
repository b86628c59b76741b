"""Every form of every page, by the table of addresses: a new one cannot forget its token or the proof."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from starlette.routing import Route

from embhub_registry.app import ROUTES
from tests.support import pushes, releases
from tests.support.databases import looking_into
from tests.support.people import Person
from tests.support.servers import Answer, RunningRegistry, running_registry

NAME = releases.REPOSITORY
VALUES = {
    "secret": "none", "proposal": "0" * 40, "what": "remove", "namespace": "radboud", "name": NAME.partition("/")[2],
    "revision": "main", "path": "README.md", "digest": "0" * 64, "hash": "0" * 64, "rest": "x", "file": "style.css",
    "status": "pending", "link": "0" * 16, "fingerprint": "0" * 64,
}  # fmt: skip
CHANGING = frozenset(["POST", "PUT", "DELETE", "PATCH"])
POSTED = [route for route in ROUTES if "POST" in (route.methods or ())]
FORMS = [route for route in POSTED if route.endpoint.__module__.startswith("embhub_registry.pages.")]
WIRE = [route for route in ROUTES if route not in FORMS and CHANGING & (route.methods or set())]
READ = [route for route in ROUTES if "GET" in (route.methods or ())]
ASKED_BY = {"/account/withdraw", "/account/quarantine", "/account/access/ask"}  # these name a repository in their query
FOREIGN: dict[str, dict[str, str]] = {
    "another site": {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    "a sibling": {"Sec-Fetch-Site": "same-site"},
    "another origin, old browser": {"Origin": "https://evil.example", "Sec-Fetch-Site": ""},
    "a sandboxed frame": {"Origin": "null", "Sec-Fetch-Site": ""},
    "neither header": {"Origin": "", "Sec-Fetch-Site": ""},
}
NO_PROOF = {
    "/login/code", "/login/passkey", "/login/passkey/answer", "/login/provider", "/login/link/{secret}",  # the proof
    "/login/reviewer", "/login/reviewer/leave",  # a code that reads one release, without an account
    "/account/logout", "/account/logout/everywhere",  # rights that end
    "/account/notifications/mail",  # whether one's own address is written to
}  # fmt: skip
READ_BY_POST = {"/api/models/{namespace}/{name}/paths-info/{revision}", "/api/validate-yaml", "/embhub/v1/device/code"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("forms")) as made:
        token = made.add_user("alice", namespace="radboud")
        made.add_key(releases.SITE, namespace="radboud")
        assert pushes.create(made, NAME, token=token).status == 200
        release = releases.make_release(repository=NAME, audited=False)
        assert pushes.commit(made, NAME, dict(release.files), token=token).status == 200
        made.run("setting", "set", "rate.exempt", "192.0.2.50")
        yield made


@pytest.fixture(scope="module")
def admin(registry: RunningRegistry) -> Person:
    """An admin who proved a moment ago who they are."""
    found = Person(registry)
    found.use_link("admin")
    found.open("/account")
    return found


@pytest.fixture(scope="module")
def token(admin: Person) -> str:
    """The token of this session's forms: the same in each."""
    return admin.form("/account/tokens")["form_token"]


def address(route: Route) -> str:
    """A route's own address, with the repository that it is about."""
    path = route.path.replace(":path}", "}").format(**VALUES)
    return f"{path}?repository={NAME}" if path in ASKED_BY else path


LATE = frozenset({"refused", "login-failed", "workload-refused", "file-read"})
"""Events that the server collects and writes together (`BatchedEvents`); none changes anything."""


def send(person: Person, path: str, fields: dict[str, str], headers: dict[str, str] | None = None) -> Answer:
    """A form as `person`'s browser sends it; a header that is empty is left out."""
    return person._send("POST", path, fields, {"X-Forwarded-For": "192.0.2.50", **(headers or {})})


def done(registry: RunningRegistry) -> list[str]:
    """What the audit log says was done, without refusals and reads, which are written seconds after."""
    lines = (registry.folder / "audit.jsonl").read_text().splitlines()
    return [line for line in lines if json.loads(line)["event"] not in LATE]


def test_the_table_has_every_form() -> None:
    assert len(FORMS) > 30 and {route.path for route in FORMS} > NO_PROOF


@pytest.mark.parametrize("route", FORMS, ids=lambda route: route.path)
def test_a_form_that_is_not_ours_changes_nothing(
    registry: RunningRegistry, admin: Person, token: str, route: Route
) -> None:
    before = done(registry)
    tried = {kind: (headers, token) for kind, headers in FOREIGN.items()}
    tried |= {"no token": ({}, ""), "a token of another cookie": ({}, "x" * 43), "a letter": ({}, "é")}
    for kind, (headers, shown) in tried.items():
        answer = send(admin, address(route), {"form_token": shown}, headers)
        assert answer.status == 403 and b"this form was not accepted" in answer.body.lower(), kind
    answer = registry.request(
        "POST", address(route), token=registry.admin, body=urlencode({"form_token": token}).encode(),
        headers={"Origin": registry.url, "X-Forwarded-For": "192.0.2.50", "Accept": "text/html"},
    )  # fmt: skip
    assert answer.status == 403, "an access token is no cookie"
    assert done(registry) == before


@pytest.mark.parametrize("route", [one for one in FORMS if one.path not in NO_PROOF], ids=lambda route: route.path)
def test_every_form_asks_again_for_a_proof_but_those_that_change_no_right(
    registry: RunningRegistry, admin: Person, token: str, route: Route
) -> None:
    before = done(registry)
    with looking_into(registry.folder) as db:
        db.execute("UPDATE session SET confirmed = '2026-01-01T00:00:00.000Z'")
    answer = send(admin, address(route), {"form_token": token})
    assert answer.status == 303 and str(answer.header("location")).startswith("/login?next=%2F"), answer.body[-500:]
    assert done(registry) == before


@pytest.mark.parametrize("route", WIRE, ids=lambda route: route.path)
def test_a_cookie_alone_changes_nothing_by_the_programs_addresses(
    registry: RunningRegistry, admin: Person, token: str, route: Route
) -> None:
    before = done(registry)
    cookies = "; ".join(f"{key}={value}" for key, value in admin.cookies.items())
    for method in sorted(CHANGING & (route.methods or set())):
        answer = registry.request(
            method, address(route), json_body={"name": "made-by-cookie", "form_token": token, "reason": "x"},
            headers={"Cookie": cookies, "Origin": registry.url, "X-Forwarded-For": "192.0.2.50"},
        )  # fmt: skip
        assert answer.status >= 400 or route.path in READ_BY_POST, (method, answer.status)
    assert done(registry) == before


def test_looking_at_pages_changes_nothing(registry: RunningRegistry) -> None:
    """A link in a mail, or a browser that loads pages ahead, presses nothing."""
    person = Person(registry)
    person.use_link("admin")
    before = done(registry)
    for route in READ:
        answer = person._send("GET", address(route), headers={"X-Forwarded-For": "192.0.2.50"})
        assert answer.status < 500, route.path
    changed = done(registry)[len(before) :]
    assert changed == []
