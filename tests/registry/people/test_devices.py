"""`embhub login --device`: a program waits, a person approves in a page, the program gets a token."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from embhub.client.account import device_login
from embhub.client.account.device_login import Prompt
from embhub.errors import RegistryError
from embhub.site import config
from tests.support.databases import looking_into
from tests.support.people import Person
from tests.support.servers import RunningRegistry, running_registry

CODE, TOKEN = "/embhub/v1/device/code", "/embhub/v1/device/token"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("devices")) as made:
        made.add_user("anna", namespace="radboud")
        made.add_user("rob", namespace="radboud", role="reader")
        yield made


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))


def begin(registry: RunningRegistry, **fields: str) -> dict[str, Any]:
    asked = {"client": "embhub on node7", "scope": "publish", "days": "30", **fields}
    answer = registry.request("POST", CODE, json_body=asked)
    assert answer.status == 200 and answer.header("cache-control") == "no-store"
    return answer.json()


def poll(registry: RunningRegistry, begun: dict[str, Any]) -> dict[str, Any]:
    body = {"grant_type": device_login.GRANT, "device_code": begun["device_code"]}
    return registry.request("POST", TOKEN, json_body=body).json()


def answer(registry: RunningRegistry, user: str, code: str, *, approve: bool = True) -> Person:
    person = Person(registry)
    person.use_link(user)
    person.open(f"/login/device?code={code}")
    path = f"/login/device?code={code}"
    person.press(path, answer="approve" if approve else "deny")
    return person


def rows(registry: RunningRegistry, statement: str) -> list[Any]:
    with looking_into(registry.folder) as db:
        found = db.execute(statement)
        return [tuple(row) for row in found] if statement.startswith("SELECT") else []


def test_the_program_gets_what_the_person_approved_once(registry: RunningRegistry) -> None:
    begun = begin(registry)
    assert begun["verification_uri"] == f"{registry.url}/login/device" and begun["interval"] == 5
    assert poll(registry, begun) == {"error": "authorization_pending"}
    assert poll(registry, begun) == {"error": "slow_down"}, "it asked again at once"
    person = answer(registry, "anna", begun["user_code"].lower().replace("-", ""))
    made = poll(registry, begun)
    assert (made["token_type"], made["scope"], made["user"]) == ("Bearer", "publish", "anna")
    assert registry.get("/api/whoami-v2", token=made["access_token"]).json()["name"] == "anna"
    assert poll(registry, begun) == {"error": "expired_token"}, "once"
    person.open("/account")
    assert "embhub on node7" in person.text()
    assert begun["device_code"].encode() not in b"".join(
        path.read_bytes() for path in registry.folder.rglob("*") if path.is_file()
    )


def test_denied_expired_and_unknown(registry: RunningRegistry) -> None:
    denied = begin(registry)
    answer(registry, "anna", denied["user_code"], approve=False)
    assert poll(registry, denied) == {"error": "access_denied"}
    late = begin(registry)
    rows(registry, "UPDATE device_request SET expires = '2026-01-01T00:00:00.000Z'")
    assert poll(registry, late) == {"error": "expired_token"}
    assert poll(registry, {"device_code": "x"}) == {"error": "expired_token"}
    person = Person(registry)
    person.use_link("anna")
    assert "No program waits" in person.open(f"/login/device?code={late['user_code']}", status=404)
    other = registry.request("POST", TOKEN, json_body={"grant_type": "password", "device_code": "x"})
    assert (other.status, other.json()) == (400, {"error": "unsupported_grant_type"})


def test_nobody_approves_more_than_they_may(registry: RunningRegistry) -> None:
    begun = begin(registry)
    person = Person(registry)
    person.use_link("rob")
    path = f"/login/device?code={begun['user_code']}"
    page = person.open(path)
    assert "cannot approve it" in page and 'value="approve"' not in page
    assert "do not reach to" in person.press(path, answer="approve", status=403)
    assert poll(registry, begun) == {"error": "authorization_pending"}


def test_approving_needs_a_login_a_fresh_proof_and_our_own_form(registry: RunningRegistry) -> None:
    begun = begin(registry, scope="read")
    path = f"/login/device?code={begun['user_code']}"
    stranger = Person(registry)
    assert "<h1>Log in</h1>" in stranger.open(path)
    person = Person(registry)
    person.use_link("anna")
    person.open(path)
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert person.send(path, headers=foreign, answer="approve").status == 403
    rows(registry, "UPDATE session SET confirmed = '2026-01-01T00:00:00.000Z'")
    late = person.send(path, answer="approve")
    assert late.status == 303 and str(late.header("location")).startswith("/login?next=%2Flogin%2Fdevice%3Fcode")
    assert poll(registry, begun) == {"error": "authorization_pending"}


@pytest.mark.parametrize(
    "fields",
    [{"client": ""}, {"client": "x" * 61}, {"client": "a\x00b"}, {"scope": "all"}, {"days": "0"}, {"days": "-1"}],
)
def test_what_no_request_can_be(registry: RunningRegistry, fields: dict[str, str]) -> None:
    asked = {"client": "x", "scope": "read", "days": "1", **fields}
    assert registry.request("POST", CODE, json_body=asked).status == 400


def run(registry: RunningRegistry, act: Callable[[Prompt], object], **options: Any) -> tuple[Any, list[Prompt]]:
    """`embhub login --device` with a person who acts when the code is shown."""
    shown: list[Prompt] = []
    threads: list[threading.Thread] = []

    def show(prompt: Prompt) -> None:
        shown.append(prompt)
        threads.append(threading.Thread(target=act, args=(prompt,)))
        threads[0].start()

    def sleep(seconds: float) -> None:
        time.sleep(min(seconds, 1.0))

    try:
        return device_login.log_in(registry.url, show=show, sleep=sleep, **options), shown
    finally:
        for thread in threads:
            thread.join()


def test_the_command_stores_the_token(registry: RunningRegistry) -> None:
    (account, path), [prompt] = run(
        registry, lambda prompt: answer(registry, "anna", prompt.code), scope="publish", days=7
    )  # fmt: skip
    assert account.name == "anna" and path.stat().st_mode & 0o777 == 0o600
    assert prompt.address == f"{registry.url}/login/device?code={prompt.code}"
    token = config.load(registry=registry.url).token
    assert token and registry.get("/api/whoami-v2", token=token).status == 200
    polled = rows(registry, "SELECT count(*) FROM token WHERE purpose LIKE 'embhub on %' AND scope = 'publish'")
    assert polled[0][0] >= 1


def test_the_command_says_why_there_is_no_token(registry: RunningRegistry) -> None:
    with pytest.raises(RegistryError, match="denied in the browser"):
        run(registry, lambda prompt: answer(registry, "anna", prompt.code, approve=False))
    with pytest.raises(RegistryError, match="nobody approved"):
        run(registry, lambda _: rows(registry, "UPDATE device_request SET expires = '2026-01-01T00:00:00.000Z'"))
    assert config.load(registry=registry.url).token is None
