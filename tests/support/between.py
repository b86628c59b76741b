"""A middleman between a site and a real registry, and what he can say."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from embhub.client.pulling import pull as pulling
from embhub.client.trusted import roots
from embhub.client.wire.hub import Hub
from embhub.release.checks import consistency
from embhub.release.checks.consistency import power
from embhub.release.files import Release
from embhub.trust import dsse
from embhub.trust.keyring import KEYRING_TYPE
from tests.support import hostile
from tests.support.hostile import Answer, Middleman, edited, instead, raw, rerouted
from tests.support.releases import (
    OTHER_SITE,
    REPOSITORY,
    ROOT,
    SITE,
    edited_card,
    make_embedding,
    make_release,
    make_report,
    replaced,
    resigned,
)
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import Site

EMBEDDING, CARD, AUDIT = "/learned_embeds", "/README.md", "/audit.json"
PUBLISHED, AUDITED = "publish.sigstore", "audit.sigstore"
FILES, INFO, TRUST = "/resolve/", "/api/models/", "/embhub/v1/trust"
STATUS = "/embhub/v1/status/"
OTHER, TWIN = "radboud/other", "radboud/twin"  # another embedding; the same one under another name
LEAKING = "radboud/leaking"  # its audit found a leak


@dataclass(frozen=True)
class World:
    """A registry with some releases, a middleman in front, and a site that pulled the newest release before."""

    registry: RunningRegistry
    middle: Middleman
    token: str
    old_commit: str
    new_commit: str
    old_export: bytes
    warm: Path

    def site(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, warm: bool, token: str = "") -> Site:
        """A site that reaches the registry through the middleman: fresh, or as it was after an honest pull."""
        if warm:
            shutil.copytree(self.warm, folder)
        site = Site(folder, self.middle.url, token).enter(monkeypatch)
        if not warm:
            roots.add_root(self.middle.url, fingerprint=self.registry.root_fingerprint)
        return site


def make_leaking_release() -> Release:
    """A release whose audit found a leak, as its card and its publisher say."""
    plain = make_release(repository=LEAKING, artifact=make_embedding(seed=9))
    report = make_report(plain.embedding, shift=3.0)
    summary = {"verdict": report.verdict, "suite": report.suite, "power": power(report)}
    files = replaced(plain, audit=report.to_bytes(), card=edited_card(plain, audit=summary))
    return resigned(files, vouched={"headline": consistency.headline(report)})


@contextmanager
def open_world(place: Path) -> Iterator[World]:
    """A registry with five releases, the middleman in front of it, and the site that pulled before."""
    with (
        running_registry(place) as registry,
        hostile.stand_between(registry.url) as middle,
        pytest.MonkeyPatch.context() as patch,
    ):
        registry.add_key(SITE, namespace="radboud")
        token = registry.add_user("alice", namespace="radboud")
        hub = Hub(registry.url, token=token)
        other = make_release(repository=OTHER, version="1.1.0", artifact=make_embedding(seed=5), limitations="many")
        old = hub.push(make_release(), REPOSITORY)
        new = hub.push(make_release(version="1.1.0"), REPOSITORY)
        hub.push(make_release(repository=TWIN, version="1.1.0"), TWIN)
        hub.push(other, OTHER)
        hub.push(make_leaking_release(), LEAKING)
        export = hub.trust_export()
        registry.add_key(OTHER_SITE, namespace="lumc")
        world = World(registry, middle, token, old.commit, new.commit, export, place / "warm")
        world.site(place / "warm", patch, warm=False)
        pulling.pull(REPOSITORY)
        yield world


def files(folder: Path) -> dict[str, bytes]:
    """Every file that a site holds, but for its home."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "home" not in path.relative_to(folder).parts[:1]
    }


# ── what he can say ────────────────────────────────────────────────────────────────────────────────────────────────


def withheld(handler: hostile.Handler) -> None:
    handler.send(404, b'{"error": "no such file"}', X_Error_Code="EntryNotFound")


def unlisted(*names: str) -> Answer:
    def forget(body: bytes) -> bytes:
        document = json.loads(body)
        document["siblings"] = [row for row in document["siblings"] if not row["rfilename"].endswith(names)]
        return json.dumps(document).encode()

    return edited(forget)


def listed(**facts: object) -> Answer:
    def change(body: bytes) -> bytes:
        document = json.loads(body)
        for row in document["siblings"]:
            row |= facts
        return json.dumps(document).encode()

    return edited(change)


def named(sha: object) -> Answer:
    return edited(lambda body: json.dumps({**json.loads(body), "sha": sha}).encode())


def file_of(repository: str, name: str) -> Answer:
    return instead(f"/{repository}/resolve/main/{name}")


def forged_statement(body: bytes) -> bytes:
    document = json.loads(body)
    envelope = document["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"]).replace(b'"version":"1.1.0"', b'"version":"9.1.0"')
    envelope["payload"] = base64.b64encode(payload).decode()
    return json.dumps(document).encode()


def forged_keyring(body: bytes) -> bytes:
    document = json.loads(body)
    payload = base64.b64decode(document["keyring"]["payload"]).replace(b'"lumc"', b'"lums"')
    document["keyring"]["payload"] = base64.b64encode(payload).decode()
    return json.dumps(document).encode()


def keyring_of_another_root(body: bytes) -> bytes:
    """The registry's own keyring, which names its root, with the signature of another key."""
    document = json.loads(body)
    signed = dsse.sign(base64.b64decode(document["keyring"]["payload"]), key=ROOT, payload_type=KEYRING_TYPE)
    return json.dumps({**document, "keyring": signed.to_json()}).encode()


def last_bit(body: bytes) -> bytes:
    return body[:-1] + bytes([body[-1] ^ 1])


def as_file(name: str) -> dict[str, Answer]:
    return {INFO: rerouted(REPOSITORY, name), FILES: rerouted(REPOSITORY, name)}


def answer(body: bytes, *headers: str, length: int | None = None) -> Answer:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body) if length is None else length}", *headers]
    return raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
