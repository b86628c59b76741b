"""A middleman who replays, stalls, sends elsewhere and names strange files; and what he can do unseen: it is told."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from embhub import refusals
from embhub.__main__ import main
from embhub.client.log import logged, logged_attestations
from embhub.client.pulling import pull as pulling
from embhub.client.trusted import roots
from embhub.client.wire import errors as client_errors
from embhub.client.wire import guard
from embhub.client.wire.hub import Hub
from embhub.errors import ConfigError, EmbhubError, UsageError
from embhub.release import files as release_files
from embhub.release.verification import Verified
from tests.support import hostile
from tests.support.between import (
    AUDIT,
    AUDITED,
    EMBEDDING,
    INFO,
    LEAKING,
    OTHER,
    PUBLISHED,
    STATUS,
    TRUST,
    World,
    file_of,
    files,
    listed,
    unlisted,
    withheld,
)
from tests.support.hostile import Answer, Middleman, edited, instead, raw, rerouted
from tests.support.quick import quick
from tests.support.releases import REPOSITORY
from tests.support.sites import Site

HTML = edited(lambda _: b"<html>")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embhub.client.wire.hub.PAUSES", (0.0,))


@pytest.fixture
def fresh(world: World, middle: Middleman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return world.site(tmp_path / "fresh", monkeypatch, warm=False)


@pytest.fixture
def warm(world: World, middle: Middleman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return world.site(tmp_path / "warm", monkeypatch, warm=True)


def refuse(call: Callable[[], object], kind: type[EmbhubError]) -> None:
    before = files(Path.cwd())
    with pytest.raises(EmbhubError) as caught:
        call()
    assert type(caught.value) is kind, caught.value
    assert files(Path.cwd()) == before


def found(verified: Verified, check: str) -> tuple[str, str]:
    (row,) = [(finding.outcome, finding.text) for finding in verified.findings if finding.check == check]
    return row


# ── replays ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_older_version_is_a_rollback_where_a_newer_one_was_seen(world: World, middle: Middleman, warm: Site) -> None:
    old = {INFO: rerouted("/revision/main", f"/revision/{world.old_commit}")}
    middle.lies = old
    for call in (lambda: pulling.pull(REPOSITORY), lambda: pulling.verify_path(REPOSITORY)):
        refuse(call, refusals.RollbackError)
    middle.lies = {PUBLISHED: instead(f"/{REPOSITORY}/resolve/{world.old_commit}/{release_files.PUBLISH_BUNDLE}")}
    refuse(lambda: pulling.pull(REPOSITORY), refusals.RollbackError)


def test_a_statement_of_an_older_version_does_not_fit_the_newer_card(
    world: World, middle: Middleman, fresh: Site
) -> None:
    middle.lies = {PUBLISHED: instead(f"/{REPOSITORY}/resolve/{world.old_commit}/{release_files.PUBLISH_BUNDLE}")}
    refuse(lambda: pulling.pull(REPOSITORY), refusals.CardMismatchError)


def test_a_keyring_that_is_older_than_seen(world: World, middle: Middleman, warm: Site) -> None:
    middle.lies = {TRUST: edited(lambda _: world.old_export)}
    for call in (lambda: pulling.pull(REPOSITORY), lambda: roots.refresh_roots()):
        refuse(call, refusals.RollbackError)
    assert main(["verify", REPOSITORY]) == 4


def test_a_commit_that_was_asked_for_is_the_one_that_is_taken(world: World, middle: Middleman, fresh: Site) -> None:
    middle.lies = {INFO: rerouted(world.old_commit, "main")}
    refuse(lambda: pulling.pull(f"{REPOSITORY}@{world.old_commit}"), client_errors.WrongCommitError)


@pytest.mark.parametrize(
    ("lies", "kind"),
    [
        ({INFO: unlisted(release_files.AUDIT, release_files.AUDIT_BUNDLE)}, refusals.MissingAuditError),
        ({INFO: unlisted(release_files.AUDIT)}, refusals.MissingAuditError),
        (
            {AUDIT: file_of(OTHER, release_files.AUDIT), AUDITED: file_of(OTHER, release_files.AUDIT_BUNDLE)},
            refusals.AuditMismatchError,
        ),
        ({AUDIT: edited(lambda body: body.replace(b"leak-detected", b"no-leak-found"))}, refusals.AuditMismatchError),
    ],
    ids=["dropped", "dropped but for its attestation", "a better one in its place", "another verdict written in"],
)
def test_an_audit_that_found_a_leak_cannot_be_dropped_or_bettered(
    middle: Middleman, fresh: Site, lies: dict[str, Answer], kind: type[EmbhubError]
) -> None:
    middle.lies = lies
    refuse(lambda: pulling.pull(LEAKING), kind)
    middle.lies = {}
    outcome, text = found(pulling.pull(LEAKING), "verdict")
    assert outcome == "warning" and "leak-detected" in text


# ── what nobody can see from outside is told ───────────────────────────────────────────────────────────────────────


def test_a_registry_that_stands_still_is_fresh_as_long_as_its_timestamp_lasts(
    world: World, middle: Middleman, warm: Site
) -> None:
    """`test_frozen_keyring.py` has what follows when the timestamp ends."""
    verified = pulling.pull(REPOSITORY)
    outcome, text = found(verified, "freshness")
    assert outcome == "ok" and text.startswith("fresh") and "hours old" in text
    assert verified.to_json()["freshness"] == "fresh"


@pytest.mark.parametrize(
    "lie", [withheld, HTML, edited(lambda body: body[:-9]), raw(b"")], ids=["withheld", "html", "cut", "hung up"]
)
def test_a_keyring_that_is_held_back_is_a_warning(middle: Middleman, fresh: Site, lie: Answer) -> None:
    middle.lies = {TRUST: lie}
    outcome, text = found(pulling.pull(REPOSITORY), "keyring")
    assert outcome == "warning" and "the one kept here was used" in text


# ── elsewhere ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("part", quick([INFO, EMBEDDING], thorough=[TRUST, STATUS]))
def test_a_redirect_is_not_followed_and_no_token_travels(
    world: World, middle: Middleman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    world.site(tmp_path / "site", monkeypatch, warm=True, token=world.token)
    with hostile.stand_between(world.registry.url) as elsewhere:
        for address in (
            elsewhere.url,
            elsewhere.url.replace("http:", ""),
            elsewhere.url.replace("127.0.0.1", "localhost"),
        ):
            for status in (302, 307):
                middle.lies = {part: lambda h, s=status, a=address: h.send(s, b"", Location=a + h.path)}  # type: ignore[misc]  # the type checker cannot follow the default, which keeps this turn's value
                if part in (TRUST, STATUS):  # not needed for the decision: it is told, and the rest goes on
                    assert (
                        "sent its client on"
                        in found(pulling.pull(REPOSITORY), {TRUST: "keyring"}.get(part, "yanked"))[1]
                    )
                else:
                    refuse(lambda: pulling.pull(REPOSITORY), client_errors.RedirectedElsewhereError)
        assert not elsewhere.requests
    sent = [headers.get("authorization") for _, path, headers, _ in middle.requests if path != TRUST]
    assert f"Bearer {world.token}" in sent


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "http://169.254.169.254/latest", "ftp://127.0.0.1/x", "//evil"]
)
def test_a_redirect_to_a_strange_address(middle: Middleman, fresh: Site, address: str) -> None:
    middle.lies = {EMBEDDING: lambda h: h.send(302, b"", Location=address)}
    refuse(lambda: pulling.pull(REPOSITORY), client_errors.RedirectedElsewhereError)


# ── slowly ─────────────────────────────────────────────────────────────────────────────────────────────────────────

SLOW: dict[str, Answer] = {
    "a body, byte by byte": hostile.drip(b" ", pause=0.05),
    "headers, byte by byte": hostile.drip(b"x", pause=0.05, first=b"HTTP/1.1 200 OK\r\nX-Slow: ", framed=False),
    "wait a moment, for ever": hostile.drip(
        b"HTTP/1.1 103 Early Hints\r\n\r\n", pause=0.05, first=b"HTTP/1.1 100 Continue\r\n\r\n", framed=False
    ),
    "silence": lambda handler: time.sleep(5),
}


@pytest.mark.parametrize("part", [INFO, EMBEDDING])
@pytest.mark.parametrize("name", SLOW)
def test_slow_answers_meet_a_deadline(
    middle: Middleman, fresh: Site, monkeypatch: pytest.MonkeyPatch, name: str, part: str
) -> None:
    monkeypatch.setattr(guard, "SILENCE", 0.5)
    monkeypatch.setattr(guard, "LONGEST_ANSWER", 1.0)
    monkeypatch.setattr(guard, "LONGEST_CALL", 2.0)
    middle.lies = {part: SLOW[name]}
    began = time.monotonic()
    refuse(lambda: Hub(middle.url).fetch(REPOSITORY), client_errors.AnswerTooSlowError)
    assert time.monotonic() - began < 10


# ── names and places ───────────────────────────────────────────────────────────────────────────────────────────────

STRANGE = [
    "../../evil.safetensors",
    "/etc/evil",
    "attestations/../../evil",
    "evil\x00",
    "..\\evil",
    "a/" * 500 + "x",
    ".git/hooks/x",
]


def test_names_in_answers_lead_nowhere(middle: Middleman, fresh: Site, tmp_path: Path) -> None:
    def add(body: bytes) -> bytes:
        document = json.loads(body)
        document["siblings"] += [{"rfilename": name, "size": 3} for name in STRANGE]
        return json.dumps(document).encode()

    around = sorted(tmp_path.iterdir())
    middle.lies = {INFO: edited(add)}
    pulling.pull(REPOSITORY)
    proofs = {logged.PROOF, logged_attestations.KEYRING_PROOF, "attestations/audit.tlog-proof"}
    pulled = {*release_files.LIMITS, *proofs, "prostate-cspca.safetensors"}
    absent = {release_files.SAMPLES, release_files.SOURCE_BUNDLE, release_files.STUDY}
    assert sorted(files(fresh.folder)) == sorted(f"prostate-cspca/{name}" for name in pulled - absent)
    assert sorted(tmp_path.iterdir()) == around
    assert not [path for _, path, _, _ in middle.requests if "evil" in path or ".git/" in path]
    assert not [path for path in fresh.folder.rglob("*") if path.is_symlink()]


@pytest.mark.parametrize("sha", ["../../x", "c0ffee/../../x", "C0FFEE" + "0" * 34, "c0ffee" + "0" * 34 + "\n"])
def test_a_commit_is_forty_hex_digits_and_no_path(middle: Middleman, fresh: Site, sha: str) -> None:
    middle.lies = {INFO: edited(lambda body: json.dumps({**json.loads(body), "sha": sha}).encode())}
    refuse(lambda: pulling.pull(REPOSITORY), client_errors.WrongCommitError)


def test_links_in_a_folder_lead_no_file_out_of_it(middle: Middleman, warm: Site, tmp_path: Path) -> None:
    folder, outside = warm.folder / "prostate-cspca", tmp_path / "outside"
    outside.mkdir()
    (outside / "mine.txt").write_text("mine")
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to(outside / "mine.txt")
    pulling.pull(REPOSITORY)
    assert (outside / "mine.txt").read_text() == "mine" and not (folder / "README.md").is_symlink()
    (folder / "attestations").rename(outside / "attestations")
    (folder / "attestations").symlink_to(outside / "attestations")
    (outside / "attestations/publish.sigstore.json").write_text("mine")
    with pytest.raises(ConfigError, match="is a link"):
        pulling.pull(REPOSITORY)
    assert (outside / "attestations/publish.sigstore.json").read_text() == "mine"


@pytest.mark.parametrize("target", ["/dev/zero", "/dev/tty", "fifo", "/proc/self/mem", "nowhere", "."])
def test_a_snapshot_with_links_to_strange_things_is_refused_at_once(middle: Middleman, warm: Site, target: str) -> None:
    os.mkfifo(warm.folder / "fifo")
    for name in (release_files.EMBEDDING, release_files.CARD, release_files.PUBLISH_BUNDLE):
        place = warm.folder / "prostate-cspca" / name
        kept = place.read_bytes()
        place.unlink()
        place.symlink_to(target if target.startswith("/") else warm.folder / target)
        with pytest.raises((refusals.ReleaseRefusedError, UsageError)):
            pulling.verify_path("prostate-cspca")
        place.unlink()
        place.write_bytes(kept)
    assert pulling.verify_path("prostate-cspca").version == "1.1.0"


def test_sizes_that_are_too_small_change_nothing(middle: Middleman, fresh: Site) -> None:
    middle.lies = {INFO: listed(size=0)}
    assert pulling.pull(REPOSITORY).version == "1.1.0"
