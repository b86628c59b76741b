"""One registry that is pinned at two addresses, and copies: none makes a site forget what it heard at another."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from embhub.client.member import status
from embhub.client.pulling import locking
from embhub.client.pulling import pull as pulling
from embhub.client.statements import reports
from embhub.client.trusted import roots
from embhub.formats import instants
from embhub.refusals import AnotherReleaseError, RevokedKeyError
from embhub.release.checks import consistency
from embhub.release.checks.consistency import power
from embhub.release.demands import PolicyRefusedError
from embhub.trust import advisories, root_keys
from embhub.trust import keyring as keyrings
from embhub.trust.advisories import Advisories, Advisory
from tests.embhub.client.test_fallback import silent
from tests.support import between, hostile
from tests.support.hostile import COMMIT, Handler, Registry
from tests.support.releases import (
    AUDITOR,
    AUDITOR_BUNDLE,
    ORIGIN,
    REPOSITORY,
    ROOT,
    SITE,
    edited_card,
    make_embedding,
    make_export,
    make_key,
    make_keyring,
    make_release,
    make_report,
    replaced,
    resigned,
)
from tests.support.sites import Site

LIST, RELEASE = make_key("adv"), make_release()
YANK = {
    "revision": COMMIT, "version": "1.0.0", "reason": "a fault", "date": "2026-11-01T00:00:00Z", "scope": "release",
}  # fmt: skip


@pytest.fixture(params=["the registry first", "the copy first"])
def two(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Registry]]:
    """A registry that this site is set to and has pinned, and another address with the same; in both orders."""
    with hostile.serve() as one, hostile.serve() as other:
        found = sorted((one, other), key=lambda each: each.url, reverse=request.param == "the copy first")
        for each in found:
            each.files, each.export = RELEASE.files, make_export(make_keyring())
        Site(tmp_path / "site", found[0].url, "").enter(monkeypatch)
        roots.add_root(found[0].url, fingerprint=ROOT.fingerprint)
        yield found


def state(number: int, *entries: Advisory, version: int = 2, revoked: tuple[dict[str, str], ...] = ()) -> bytes:
    """What the registry shows on a later day, with signed advisories."""
    day = datetime.now(UTC) - timedelta(hours=2) + timedelta(minutes=number)
    online = {"advisories": root_keys.named(LIST.public).model_dump()}
    ring = make_keyring(version=version, online=online, revoked=list(revoked))
    signed = Advisories(ORIGIN, int(day.timestamp()), instants.write(day), entries).sign(LIST)
    return keyrings.TrustExport(
        ring.registry, keyrings.sign_keyring(ring, root_key=ROOT), (), None, signed
    ).to_bytes()  # fmt: skip


def answer(document: dict[str, object]) -> Callable[[Handler], None]:
    return lambda handler: handler.send(200, json.dumps(document).encode())


def listed(*rows: dict[str, str]) -> Callable[[Handler], None]:
    return answer({"repository": REPOSITORY, "yanked": list(rows), "quarantined": []})


@pytest.mark.parametrize("what", ["withdrawn", "stolen"])
def test_a_late_address_brings_back_neither_a_withdrawn_release_nor_a_stolen_key(
    two: list[Registry], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, late = two
    for each in two:
        each.export = state(1)
        roots.add_root(each.url, fingerprint=ROOT.fingerprint)
    pulling.pull(REPOSITORY, out="before")
    if what == "withdrawn":
        published = instants.write(datetime.now(UTC) - timedelta(hours=1))
        registry.export = state(2, advisories.new(
            scope="bytes", by="operator", namespace="radboud", repository=REPOSITORY, version=None,
            digest=RELEASE.embedding.digest, reason="consent withdrawn", published=published,
        ))  # fmt: skip
    else:
        gone = {"fingerprint": SITE.fingerprint, "date": "2026-11-25T00:00:00Z", "reason": "stolen"}
        registry.export = state(2, version=3, revoked=(gone,))
    refused = PolicyRefusedError if what == "withdrawn" else RevokedKeyError
    with pytest.raises(refused):
        pulling.pull(REPOSITORY, out="after")
    with pytest.raises(refused):
        pulling.verify_path("before", require="not-yanked")
    assert status.look_up().withdrawn
    with pytest.raises(refused):
        pulling.pull(REPOSITORY, registry=late.url, out="after")
    monkeypatch.setenv("EMBHUB_REGISTRY", late.url)
    monkeypatch.setenv("EMBHUB_FALLBACK", registry.url)
    late.lies = {"/": silent}
    with pytest.raises(refused):
        pulling.pull(REPOSITORY, out="after")
    assert not Path("after").exists()


@pytest.mark.parametrize("how", ["named", "as a fallback"])
def test_a_copy_that_is_pinned_lifts_no_yank(two: list[Registry], how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registry, copy = two
    registry.lies, copy.lies = {between.STATUS: listed(YANK)}, {between.STATUS: listed()}
    with pytest.raises(PolicyRefusedError, match="was yanked on"):
        pulling.pull(REPOSITORY, out="there")
    roots.add_root(copy.url, fingerprint=ROOT.fingerprint)
    registry.lies = {"/": silent}
    monkeypatch.setenv("EMBHUB_FALLBACK", copy.url)
    for require in ((), "not-yanked"):
        with pytest.raises(PolicyRefusedError, match="yanked on"):
            pulling.pull(REPOSITORY, registry=copy.url if how == "named" else None, out="there", require=require)
    assert reports.yank(make_keyring().registry, REPOSITORY, "1.0.0") is not None
    assert not Path("there").exists()


def test_a_yank_that_refuses_a_lock_is_remembered(two: list[Registry]) -> None:
    registry, _ = two
    pulling.pull(REPOSITORY, out="there")
    registry.lies = {between.STATUS: listed(YANK)}
    with pytest.raises(PolicyRefusedError, match="was yanked on"):
        locking.lock([REPOSITORY], out=Path("a.lock"))
    assert pulling.verify_path("there").yanked is not None


@pytest.mark.parametrize("source", ["the registry", "a copy"])
def test_a_leak_is_remembered_also_where_the_policy_refuses_it(
    two: list[Registry], source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = make_report(RELEASE.embedding, shift=3.0)
    summary = {"verdict": report.verdict, "suite": report.suite, "power": power(report)}
    other = make_release(repository="radboud/leaking")
    leaking = resigned(
        replaced(other, audit=report.to_bytes(), card=edited_card(other, audit=summary)),
        vouched={"headline": consistency.headline(report)}, audit_key=AUDITOR,
    )  # fmt: skip
    digest = RELEASE.embedding.digest
    assert leaking.embedding.digest == digest
    asked = two[source == "a copy"]
    asked.lies = {between.STATUS: listed(), "/designs/": answer({"embedding": digest, "designs": []})}
    if source == "a copy":
        two[0].lies = {"/": silent}
        monkeypatch.setenv("EMBHUB_FALLBACK", asked.url)
    row = {"bundle": json.loads(leaking.files[AUDITOR_BUNDLE])}
    asked.lies["/audits/"] = answer({"embedding": digest, "audits": [row]})
    with pytest.raises(PolicyRefusedError, match="leak-detected"):
        pulling.pull(REPOSITORY, out="there", require="no-leak")
    asked.lies["/audits/"] = answer({"embedding": digest, "audits": []})
    with pytest.raises(PolicyRefusedError, match="seen here before"):
        pulling.pull(REPOSITORY, out="there", require="no-leak")


def test_another_release_does_not_come_as_a_commit_that_was_accepted(
    two: list[Registry], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, copy = two
    registry.files = make_release(version="1.1.0", artifact=make_embedding(seed=7)).files
    pulling.pull(f"{REPOSITORY}@{COMMIT}", out="a")
    for named in (copy.url, None):
        with pytest.raises(AnotherReleaseError, match=r"was version 1\.1\.0"):
            pulling.pull(f"{REPOSITORY}@{COMMIT}", registry=named, out="b")
        registry.lies = {"/": silent}
        monkeypatch.setenv("EMBHUB_FALLBACK", copy.url)


def test_a_commit_that_a_copy_gives_is_not_kept_as_the_registrys(two: list[Registry]) -> None:
    _, copy = two
    copy.commit = "d" * 40
    pulling.pull(REPOSITORY, registry=copy.url, out="a")
    assert locking.lock(["a"], out=Path("a.lock"))[0].commit is None
    pulling.pull(REPOSITORY, out="b")
    assert locking.lock(["b"], out=Path("b.lock"))[0].commit == COMMIT
