"""The outbox: nothing is lost, nothing is told that was undone, and nobody is told what they may not read."""

from __future__ import annotations

import gc
import json
import signal
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from embhub_registry.database.clock import now
from embhub_registry.database.logs import outbox
from embhub_registry.database.standing import quarantine
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.operation.background import deliveries
from embhub_registry.people import auth, notifications, webhooks
from embhub_registry.storage import outgoing
from embhub_registry.storage.folder import Registry
from tests.support import pushes, releases
from tests.support.people import Person
from tests.support.receivers import Receiver, receiver
from tests.support.servers import RunningRegistry, init_registry, running_registry

ALL = list(notifications.KINDS)


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
def running(tmp_path: Path) -> RunningRegistry:
    """A registry that is not served, so that this process is the worker."""
    made = init_registry(tmp_path)
    for name, namespace, role in (
        ("alice", "radboud", "publisher"),
        ("rob", "radboud", "reader"),
        ("lea", "lumc", "publisher"),
    ):
        made.add_user(name, namespace=namespace, role=role)
    allow(made)
    return made


@pytest.fixture
def registry(running: RunningRegistry) -> Iterator[Registry]:
    with running.opened() as opened:
        yield opened


def allow(running: RunningRegistry) -> None:
    running.run("setting", "set", "webhooks", "yes")
    running.run("setting", "set", "outgoing.hosts", "127.0.0.1")


def account(registry: Registry, name: str) -> Any:
    db = registry.database.connection()
    row = db.execute("SELECT id FROM user WHERE name = ?", (name,)).fetchone()
    found = auth.find_account(db, row[0])
    assert found
    return found


def add(
    registry: Registry,
    hook: Receiver,
    user: str = "alice",
    *,
    kinds: list[str] | None = None,
    namespace: str = "radboud",
) -> dict[str, Any]:
    return webhooks.add(registry, account(registry, user), namespace=namespace, url=hook.url, kinds=kinds or ALL)


def _same(moment: datetime) -> datetime:
    return moment


def webhook(registry: Registry, identity: str) -> Any:
    return outbox.find_webhook(registry.database.connection(), identity)


def emit(registry: Registry, kind: str = "release.published", **fields: Any) -> None:
    told = {"namespace": "radboud", "repository": "radboud/x", "version": "1.0.0", **fields}
    with registry.database.writing() as db:
        notifications.emit(db, kind, **told)


def test_a_message_is_signed_as_standard_webhooks_has_it(registry: Registry, hook: Receiver) -> None:
    made = add(registry, hook)
    emit(registry)
    assert deliveries.run(registry) == 1
    [(headers, body)] = hook.got
    told = Webhook(made["secret"]).verify(body, headers)
    assert told["type"] == "release.published" and told["data"] == {
        "namespace": "radboud", "repository": "radboud/x", "version": "1.0.0"
    }  # fmt: skip
    assert headers["webhook-id"].startswith("evt_") and headers["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        Webhook(made["secret"]).verify(body.replace(b"1.0.0", b"1.0.1"), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 43 + "=").verify(body, headers)
    assert outbox.count_waiting(registry.database.connection()) == 0
    assert registry.database.connection().execute("SELECT count(*) FROM event").fetchone()[0] == 0


def test_sending_opens_no_connection_to_the_database(registry: Registry, hook: Receiver) -> None:
    add(registry, hook)
    for number in range(20):
        emit(registry, version=str(number))
    gc.collect()
    gc.disable()  # what a thread opened is closed some time after its end
    try:
        before = registry.database.open_connections()
        assert deliveries.run(registry) == 20
        assert registry.database.open_connections() == before
    finally:
        gc.enable()


def test_what_is_rolled_back_is_not_told(registry: Registry, hook: Receiver) -> None:
    add(registry, hook)
    with pytest.raises(RuntimeError, match="undone"), registry.database.writing() as db:
        notifications.emit(db, "release.published", namespace="radboud", repository="radboud/x", version="1")
        raise RuntimeError("undone")
    assert deliveries.run(registry) == 0 and hook.got == []


def test_a_process_that_dies_between_sending_and_noting_sends_again_under_the_same_id(
    registry: Registry, hook: Receiver
) -> None:
    add(registry, hook)
    emit(registry)
    [claimed] = deliveries.claim(registry)
    deliveries.prepare(registry, claimed)()  # and now the process is killed
    assert deliveries.run(registry) == 0, "it is leased"
    assert deliveries.run(registry, clock=lambda: now() + deliveries.LEASE + timedelta(seconds=1)) == 1
    first, second = (headers["webhook-id"] for headers, _ in hook.got)
    assert first == second and deliveries.run(registry) == 0


def test_several_workers_share_one_outbox(running: RunningRegistry, registry: Registry, hook: Receiver) -> None:
    add(registry, hook)
    for number in range(40):
        emit(registry, version=str(number))

    def work() -> None:
        with running.opened() as own:
            deliveries.run(own)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(body["data"]["version"]) for body in hook.bodies()) == list(range(40))


def test_who_may_not_read_is_not_told(running: RunningRegistry, registry: Registry, hook: Receiver) -> None:
    with receiver() as outside, receiver() as reader:
        add(registry, hook)
        add(registry, outside, "lea")
        add(registry, reader, "rob")
        emit(registry, repository="radboud/public")
        emit(registry, repository="radboud/secret", private=True)
        emit(registry, "access.requested", repository="radboud/public", user="lea")
        deliveries.run(registry)
        told = [[(b["type"], b["data"]["repository"]) for b in one.bodies()] for one in (hook, outside, reader)]
        assert sorted(told[0]) == [
            ("access.requested", "radboud/public"), ("release.published", "radboud/public"),
            ("release.published", "radboud/secret"),
        ]  # fmt: skip
        assert told[1] == [("release.published", "radboud/public")]
        assert sorted(told[2]) == [("release.published", "radboud/public"), ("release.published", "radboud/secret")]
        emit(registry, repository="radboud/secret", private=True)
        running.run("user", "disable", "rob")
        deliveries.run(registry)
        assert len(reader.got) == 2, "rights are looked at when a message goes out, not when it was noted"


def test_a_repository_that_was_made_private_since_is_not_told_of(
    running: RunningRegistry, registry: Registry, hook: Receiver
) -> None:
    with registry.database.writing() as db:
        db.execute(
            "INSERT INTO repository (namespace, name, private, created, modified, gated)"
            " VALUES ('radboud', 'x', 1, '2026', '2026', '')"
        )
    add(registry, hook, "lea")
    emit(registry)
    assert deliveries.run(registry) == 1 and hook.got == []


def test_a_version_that_was_set_aside_since_is_told_to_those_alone_who_see_it(
    running: RunningRegistry, registry: Registry, hook: Receiver
) -> None:
    with receiver() as reader:
        add(registry, hook)
        add(registry, reader, "lea")
        emit(registry, repository="radboud/aside", commit="a" * 40)
        emit(registry, repository="radboud/aside", commit="b" * 40)
        with registry.database.writing() as db:
            db.execute(
                "INSERT INTO repository (namespace, name, private, created, modified, gated)"
                " VALUES ('radboud', 'aside', 0, '2026', '2026', '')"
            )
            (row,) = db.execute("SELECT id FROM repository WHERE name = 'aside'")
            quarantine.add(db, row[0], ["a" * 40], digest="0" * 64, reason="a copy?", author="operator", now="2026")
        deliveries.run(registry)
        told = [sorted(body["data"]["commit"][0] for body in one.bodies()) for one in (hook, reader)]
        assert told == [["a", "b"], ["b"]], "a publisher sees what is set aside"


def test_failures_are_tried_again_later_and_later(registry: Registry, hook: Receiver) -> None:
    made = add(registry, hook)
    hook.status = 500
    emit(registry)
    moment, times = now(), 0
    for wait in deliveries.DELAYS:
        assert deliveries.run(registry, clock=partial(_same, moment)) == 1
        times += 1
        assert len(hook.got) == times
        assert deliveries.run(registry, clock=partial(_same, moment + timedelta(seconds=wait * 0.79))) == 0
        moment += timedelta(seconds=wait * 1.21)
        if webhook(registry, made["id"])["disabled"]:
            break
    row = webhook(registry, made["id"])
    assert row["disabled"] and row["problem"] == "it answered with status 500" and times >= 8
    assert deliveries.run(registry, clock=lambda: moment) == 0
    hook.status = 200
    webhooks.enable(registry, account(registry, "alice"), made["id"])
    assert deliveries.run(registry, clock=lambda: moment) == 1, "what waited is told"
    assert [headers["webhook-id"] for headers, _ in hook.got] == [hook.got[0][0]["webhook-id"]] * len(hook.got)


def test_what_is_given_up_is_forgotten(registry: Registry, hook: Receiver) -> None:
    assert [deliveries.delay(number) is None for number in (1, 9, 10)] == [False, False, True]
    add(registry, hook)
    hook.status = 500
    emit(registry)
    late: datetime = now() + timedelta(days=8)
    deliveries.run(registry, clock=lambda: late)
    assert outbox.count_waiting(registry.database.connection()) == 0


def test_410_disables_at_once(registry: Registry, hook: Receiver) -> None:
    made = add(registry, hook)
    hook.status = 410
    emit(registry)
    deliveries.run(registry)
    row = webhook(registry, made["id"])
    assert row["disabled"] and outbox.count_waiting(registry.database.connection()) == 0
    assert "webhook-disabled" in (registry.folder / "audit.jsonl").read_text()


def test_a_host_inside_gets_nothing(running: RunningRegistry, registry: Registry, hook: Receiver) -> None:
    add(registry, hook)
    running.run("setting", "set", "outgoing.hosts", "")
    emit(registry)
    deliveries.run(registry)
    assert hook.got == []
    with pytest.raises(RequestDeniedError):
        add(registry, hook)


def test_off_means_off(running: RunningRegistry, registry: Registry, hook: Receiver) -> None:
    add(registry, hook)
    running.run("setting", "set", "webhooks", "no")
    emit(registry)
    deliveries.run(registry)
    assert hook.got == []
    with pytest.raises(RequestDeniedError, match="off"):
        add(registry, hook)


def test_the_secret_is_nowhere_in_the_folder(registry: Registry, hook: Receiver) -> None:
    secret = add(registry, hook)["secret"]
    whole = b"".join(path.read_bytes() for path in registry.folder.rglob("*") if path.is_file())
    assert secret.removeprefix("whsec_").encode() not in whole


def test_a_slow_receiver_holds_up_nobody_else(
    registry: Registry, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        outgoing.connected, "__kwdefaults__", {**(outgoing.connected.__kwdefaults__ or {}), "seconds": 0.5}
    )
    with receiver() as slow:
        slow.seconds, slow.answer, slow.headers = 5.0, b"x", {"Content-Length": "1"}
        add(registry, slow)
        add(registry, hook, "lea")
        for number in range(20):
            emit(registry, version=str(number))
        batch = deliveries.claim(registry)
        assert len({delivery.webhook_id for delivery in batch}) == 2 and len(batch) == 2 * deliveries.EACH


def test_no_kind_tells_a_reason(registry: Registry) -> None:
    """Reasons may have been given in confidence: the sources of events name none."""
    root = Path(notifications.__file__).parents[1]
    calls = [
        part.partition(")")[0]
        for path in root.rglob("*.py")
        for part in path.read_text().split("notifications.emit(")[1:]
    ]
    assert len(calls) >= 6 and not [call for call in calls if "reason" in call]


def test_publishing_and_yanking_over_a_server_that_is_killed(tmp_path: Path, hook: Receiver) -> None:
    with running_registry(tmp_path) as running:
        alice = running.add_user("alice", namespace="radboud")
        lea = running.add_user("lea", namespace="lumc", role="reader")
        running.add_key(releases.SITE, namespace="radboud")
        allow(running)
        person = Person(running)
        person.use_link("alice")
        person.open("/account/notifications")
        boxes: dict[str, Any] = dict.fromkeys(ALL, "yes")
        person.press("/account/notifications/webhooks", url=hook.url, namespace="radboud", **boxes)
        secret = person.text().partition("whsec_")[2].split()[0]
        hook.status = 503
        assert pushes.create(running, releases.REPOSITORY, token=alice).status == 200
        assert (
            pushes.commit(running, releases.REPOSITORY, dict(releases.make_release().files), token=alice).status == 200
        )
        hook.wait_for(1)
        for _ in range(100):
            if "failing" in person.open("/account/notifications"):
                break
            time.sleep(0.1)
        assert running.stop(how=signal.SIGKILL) == -signal.SIGKILL
        hook.status = 200
        hook.got.clear()
        running.start()
        hook.wait_for(1, seconds=20)
        told = Webhook("whsec_" + secret).verify(hook.got[0][1], hook.got[0][0])
        assert told["type"] == "release.published" and told["data"]["version"] == "1.0.0"
        yank = {"version": "1.0.0", "reason": "the committee said in confidence"}
        assert (
            running.request("POST", f"/embhub/v1/yank/{releases.REPOSITORY}", token=alice, json_body=yank).status == 200
        )
        settings = {"gated": "manual"}
        path = f"/api/models/{releases.REPOSITORY}"
        assert running.request("PUT", f"{path}/settings", token=running.admin, json_body=settings).status == 200
        assert running.request("POST", f"/{releases.REPOSITORY}/ask-access", token=lea, json_body={}).status == 200
        body = {"user": "lea", "status": "rejected", "rejectionReason": "said in confidence"}
        assert running.request("POST", f"{path}/user-access-request/handle", token=alice, json_body=body).status == 200
        running.add_key(releases.OTHER_SITE, namespace="radboud")
        hook.wait_for(5, seconds=20)
        kinds = [body["type"] for body in hook.bodies()]
        assert sorted(kinds) == [
            "access.decided",
            "access.requested",
            "key.changed",
            "release.published",
            "release.yanked",
        ]
        assert "confidence" not in json.dumps(hook.bodies())
        person.open("/account/notifications")
        assert "in use" in person.text() and secret not in person.page
        identity = person.form("/account/notifications/webhooks/test")["webhook"]
        person.press("/account/notifications/webhooks/test")
        hook.wait_for(6, seconds=20)
        assert hook.bodies()[-1]["type"] == "test"
        stranger = Person(running)
        stranger.use_link("lea")
        stranger.open("/account/notifications")
        form = {"form_token": stranger.form("/account/logout")["form_token"], "webhook": identity}
        for what in ("test", "remove", "enable"):
            assert stranger._send("POST", f"/account/notifications/webhooks/{what}", form).status == 404
        person.open("/account/notifications")
        person.press("/account/notifications/webhooks/remove")
        assert hook.url not in person.page
