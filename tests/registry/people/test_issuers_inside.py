"""What publishers type as an issuer makes the server ask nobody inside, and a slow issuer delays its own jobs alone."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from embhub_registry.database.people import accounts, workloads
from tests.support.people import Person
from tests.support.receivers import Receiver, receiver
from tests.support.servers import Answer, RunningRegistry, running_registry
from tests.support.workloads import Provider, ci_provider

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
SLOW_HOST = "127.0.0.2"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with ci_provider() as made:
        yield made


@pytest.fixture
def listener() -> Iterator[Receiver]:
    """A service of the server's own machine that publishers are not to reach."""
    with receiver() as made:
        yield made


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("inside")) as made:
        made.add_user("alice", namespace="radboud")
        made.add_user("lea", namespace="lumc")
        yield made


def allow(registry: RunningRegistry, *hosts: str) -> None:
    registry.run("setting", "set", "outgoing.hosts", ",".join(hosts))


def add(registry: RunningRegistry, provider: Provider, name: str) -> None:
    registry.ask("repo", "publisher", "add", name, "--issuer", provider.url, "--claim", "repository_id=123456")


def exchange(registry: RunningRegistry, token: str, resource: str) -> tuple[Answer, float]:
    """The answer to anybody at all, and after how many seconds."""
    asked = {"grant_type": GRANT, "subject_token_type": ID_TOKEN, "subject_token": token, "resource": resource}
    started = time.monotonic()
    return registry.request("POST", "/oauth/token", json_body=asked), time.monotonic() - started


def audit_lines(registry: RunningRegistry, event: str) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in (registry.folder / "audit.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == event]


def test_a_publisher_registers_no_issuer_inside(registry: RunningRegistry, listener: Receiver) -> None:
    allow(registry)
    alice = Person(registry)
    alice.use_link("alice")
    port = listener.url.rsplit(":", 1)[1].partition("/")[0]
    for issuer in (
        f"http://127.0.0.1:{port}/cluster/_shutdown?now=1&x=", f"http://127.0.0.1:{port}/", f"https://127.0.0.1:{port}",
        "https://169.254.169.254/latest", "https://localhost:22", "https://[::1]", "https://[::ffff:10.0.0.1]/x",
        "https://2130706433/", "https://ci.example.org/?x=1", "https://user@ci.example.org", registry.url,
        "http://ci.example.org", "https://ci.example.org/#x", "https://0x7f.1",
    ):  # fmt: skip
        alice.open("/account/publishers")
        fields: dict[str, Any] = {
            "repository": "radboud/x",
            "issuer": issuer,
            "audience": "x",
            "claims": "repository_id=1",
        }
        alice.press("/account/publishers/add", status=400, **fields)
    assert listener.got == []


def test_an_anonymous_request_makes_the_server_ask_nobody_inside(registry: RunningRegistry, provider: Provider) -> None:
    """A rule whose issuer was public when it was registered, and is inside now."""
    allow(registry)
    with registry.opened() as opened, opened.database.writing() as db:
        user = accounts.add_user(db, name="workload-a", namespace="radboud", role="publisher", now="2026-01-01")
        workloads.add(
            db, "a", user, namespace="radboud", repository="radboud/a", issuer=provider.url, audience=registry.url,
            claims={"repository_id": "123456"}, scope="publish", created_by="alice", now="2026-01-01",
        )  # fmt: skip
    before = list(provider.asked)
    answer, _ = exchange(registry, provider.token(registry.url), "radboud/a")
    assert answer.status == 400 and provider.asked == before
    for _ in range(100):
        if found := [line for line in audit_lines(registry, "request-sent") if line["purpose"] == "issuer"]:
            break
        time.sleep(0.1)
    assert found[0]["host"] == "127.0.0.1" and "did not allow" in found[0]["outcome"]


@pytest.mark.parametrize("allowed", [("127.0.0.1",), ("127.0.0.1", "localhost")])
def test_keys_are_not_fetched_from_another_host_inside(registry: RunningRegistry, allowed: tuple[str, ...]) -> None:
    """Whoever registers an issuer writes its `jwks_uri`: a host that is allowed for others does not count."""
    allow(registry, *allowed)
    name = f"radboud/jwks-{len(allowed)}"
    with ci_provider() as evil, socket.create_server(("127.0.0.1", 0)) as inside:
        evil.keys_at = f"https://localhost:{inside.getsockname()[1]}/?shutdown=1"
        add(registry, evil, name)
        answer, _ = exchange(registry, evil.token(registry.url), name)
        inside.settimeout(0)
        with pytest.raises(BlockingIOError):
            inside.accept()
    assert answer.status == 400 and evil.asked == ["/.well-known/openid-configuration"]


def test_a_slow_issuer_delays_nobody_else(registry: RunningRegistry) -> None:
    """One byte every two seconds; meanwhile the job of another hospital gets its token, whosever name strangers use."""
    allow(registry, "127.0.0.1", SLOW_HOST)
    with ci_provider() as provider, ci_provider(SLOW_HOST) as slow, ThreadPoolExecutor(60) as pool:
        slow.drip = 2.0
        add(registry, slow, "radboud/slow")
        add(registry, provider, "lumc/fast")
        begun = [pool.submit(exchange, registry, slow.token(registry.url), "radboud/slow") for _ in range(40)]
        begun += [pool.submit(exchange, registry, slow.token(registry.url), "lumc/fast") for _ in range(10)]
        time.sleep(1)
        answer, _ = exchange(registry, provider.token(registry.url), "lumc/fast")
        assert answer.status == 200 and not all(one.done() for one in begun), answer.body
        assert registry.get("/healthz").status == 200
        ended = [one.result() for one in begun]
        assert max(seconds for _, seconds in ended) < 12 and {answer.status for answer, _ in ended} <= {400, 503}
        asked = len(slow.asked)
        assert asked <= 2
        answer, _ = exchange(registry, slow.token(registry.url), "radboud/slow")
        assert answer.status == 400 and len(slow.asked) == asked, "a failure is kept"
