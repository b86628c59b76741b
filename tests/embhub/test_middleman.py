"""A middleman between a site and a real registry: each of his lies has its own refusal, and leaves no file behind."""

from __future__ import annotations

import gzip
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from embhub import refusals
from embhub.__main__ import main
from embhub.client.pulling import pull as pulling
from embhub.client.wire import errors as client_errors
from embhub.client.wire.hub import Hub
from embhub.errors import EmbhubError, RegistryError
from embhub.release import files as release_files
from tests.support import hostile
from tests.support.between import (
    AUDIT,
    AUDITED,
    CARD,
    EMBEDDING,
    INFO,
    OTHER,
    PUBLISHED,
    TRUST,
    TWIN,
    World,
    answer,
    as_file,
    file_of,
    files,
    forged_keyring,
    forged_statement,
    keyring_of_another_root,
    last_bit,
    listed,
    named,
    unlisted,
    withheld,
)
from tests.support.hostile import Answer, Middleman, edited, raw
from tests.support.quick import others_thorough
from tests.support.releases import REPOSITORY, STRANGER, make_export

HTML = edited(lambda _: b"<html><body>Please log in</body></html>", **{"Content-Type": "text/html"})
BOMB = gzip.compress(bytes(16_000_000), 1) * 250  # 17 MB that unpack to 4 GB

LIES: dict[str, tuple[dict[str, Answer], type[EmbhubError]]] = {
    # the embedding
    "tensor, one bit": ({EMBEDDING: edited(last_bit)}, refusals.DigestMismatchError),
    "header, one letter": (
        {EMBEDDING: edited(lambda body: body.replace(b"<cspca>", b"<cspcA>", 1))},
        refusals.DigestMismatchError,
    ),
    "tensor of another embedding": (
        {EMBEDDING: file_of(OTHER, release_files.EMBEDDING)},
        refusals.DigestMismatchError,
    ),
    "tensor withheld": ({EMBEDDING: withheld}, client_errors.NotFoundError),
    "tensor not listed": ({INFO: unlisted(release_files.EMBEDDING)}, refusals.UnreadableArtifactError),
    "tensor cut": ({EMBEDDING: edited(lambda body: body[:-7])}, refusals.UnreadableArtifactError),
    "tensor with more behind it": ({EMBEDDING: edited(lambda body: body + b"\0")}, refusals.UnreadableArtifactError),
    "a pickle": ({EMBEDDING: edited(lambda _: b"\x80\x02}q\x00.")}, refusals.UnreadableArtifactError),
    # the card
    "card edited": ({CARD: edited(lambda body: body.replace(b"diagnosis", b"screening"))}, refusals.CardMismatchError),
    "card of another release": ({CARD: file_of(OTHER, release_files.CARD)}, refusals.CardMismatchError),
    "card withheld": ({CARD: withheld}, client_errors.NotFoundError),
    "card not listed": ({INFO: unlisted(release_files.CARD)}, refusals.CardMismatchError),
    # the audit
    "report edited": ({AUDIT: edited(lambda body: body.replace(b"0.", b"1.", 1))}, refusals.AuditMismatchError),
    "report of another embedding": ({AUDIT: file_of(OTHER, release_files.AUDIT)}, refusals.AuditMismatchError),
    "audit of another embedding, whole": (
        {AUDIT: file_of(OTHER, release_files.AUDIT), AUDITED: file_of(OTHER, release_files.AUDIT_BUNDLE)},
        refusals.AuditMismatchError,
    ),
    "audit attestation of another release": (
        {AUDITED: file_of(OTHER, release_files.AUDIT_BUNDLE)},
        refusals.AuditMismatchError,
    ),
    "report not listed": ({INFO: unlisted(release_files.AUDIT)}, refusals.MissingAuditError),
    "audit attestation not listed": ({INFO: unlisted(release_files.AUDIT_BUNDLE)}, refusals.MissingAuditError),
    "the whole audit not listed": (
        {INFO: unlisted(release_files.AUDIT, release_files.AUDIT_BUNDLE)},
        refusals.MissingAuditError,
    ),
    "report withheld": ({AUDIT: withheld}, client_errors.NotFoundError),
    # the publish attestation
    "statement forged": ({PUBLISHED: edited(forged_statement)}, refusals.BadSignatureError),
    "statement cut": ({PUBLISHED: edited(lambda body: body[:-9])}, refusals.MalformedBundleError),
    "statement not listed": ({INFO: unlisted(release_files.PUBLISH_BUNDLE)}, refusals.UnsignedError),
    "audit attestation in its place": (
        {PUBLISHED: file_of(REPOSITORY, release_files.AUDIT_BUNDLE)},
        refusals.WrongPredicateError,
    ),
    # whole releases
    "another repository's release": (as_file(OTHER), refusals.WrongRepositoryError),
    "the same embedding's release under another name": (as_file(TWIN), refusals.WrongRepositoryError),
    # the keyring
    "keyring forged": ({TRUST: edited(forged_keyring)}, refusals.BadSignatureError),
    "keyring of another root": ({TRUST: edited(lambda _: make_export(root=STRANGER))}, refusals.WrongRootError),
    "keyring that the root did not sign": ({TRUST: edited(keyring_of_another_root)}, refusals.BadSignatureError),
    # commits
    "no commit": ({INFO: named("main")}, client_errors.WrongCommitError),
    "a commit that is no text": ({INFO: named(17)}, client_errors.NotARegistryError),
    "a commit that changes between two answers": (
        {CARD: edited(lambda body: body, **{"x-repo-commit": "f" * 40})},
        client_errors.WrongCommitError,
    ),
    # nonsense
    "HTML for JSON": ({INFO: HTML}, client_errors.NotARegistryError),
    "JSON cut": ({INFO: edited(lambda body: body[:-20])}, client_errors.NotARegistryError),
    "a list for an object": ({INFO: edited(lambda body: b"[" + body + b"]")}, client_errors.NotARegistryError),
    "nested without end": ({INFO: edited(lambda _: b"[" * 200_000)}, client_errors.NotARegistryError),
    "HTML for a file": ({PUBLISHED: HTML}, refusals.MalformedBundleError),
    "sizes that are words": ({INFO: listed(size="small")}, client_errors.NotARegistryError),
    "no HTTP": ({INFO: raw(b"SSH-2.0-OpenSSH_9.2\r\n")}, client_errors.AnswerCutShortError),
    "nothing, and the line is cut": ({INFO: raw(b"")}, client_errors.AnswerCutShortError),
    # bytes
    "sizes of gigabytes": ({INFO: listed(size=4_000_000_000)}, client_errors.AnswerTooLargeError),
    "a file without end": ({EMBEDDING: hostile.drip(b"x" * 65536)}, client_errors.AnswerTooLargeError),
    "an answer without end": ({INFO: hostile.drip(b" " * 65536)}, client_errors.AnswerTooLargeError),
    "headers without end": (
        {INFO: hostile.drip(b"X-More: " + b"x" * 8000 + b"\r\n", first=b"HTTP/1.1 200 OK\r\n", framed=False)},
        client_errors.AnswerCutShortError,
    ),
    "less than announced": ({EMBEDDING: answer(b"x" * 100, length=5000)}, client_errors.AnswerCutShortError),
    "more than announced": ({EMBEDDING: answer(b"x" * 5000, length=100)}, refusals.UnreadableArtifactError),
    "two lengths": ({EMBEDDING: answer(b"x" * 10, "Content-Length: 20")}, client_errors.AnswerCutShortError),
    "a bomb for a file": ({EMBEDDING: answer(BOMB, "Content-Encoding: gzip")}, client_errors.CompressedAnswerError),
    "a bomb for JSON": ({INFO: answer(BOMB, "Content-Encoding: gzip")}, client_errors.CompressedAnswerError),
    # refusals
    "out of order": ({INFO: lambda h: h.send(503, b"{}")}, client_errors.RegistryFailedError),
    "busy for years": (
        {EMBEDDING: lambda h: h.send(429, b"{}", Retry_After="999999999")},
        client_errors.RegistryFailedError,
    ),
    "not allowed": ({INFO: lambda h: h.send(403, b"{}")}, client_errors.NotAllowedError),
    "not there": ({INFO: lambda h: h.send(404, b"{}", X_Error_Code="RepoNotFound")}, client_errors.NotFoundError),
}


def refused(call: Callable[[], object], kind: type[EmbhubError]) -> None:
    with pytest.raises(EmbhubError) as caught:
        call()
    assert type(caught.value) is kind, caught.value
    assert caught.value.message and caught.value.hint


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embhub.client.wire.hub.PAUSES", (0.0,))


@pytest.mark.parametrize("name", others_thorough(LIES, list(LIES)[::3]))
def test_a_lie_is_refused_and_leaves_nothing(
    world: World, middle: Middleman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    lies, kind = LIES[name]
    fresh = world.site(tmp_path / "fresh", monkeypatch, warm=False).folder
    middle.lies = lies
    refused(lambda: pulling.pull(REPOSITORY), kind)
    assert [path.name for path in fresh.iterdir()] == ["home"]

    warm = world.site(tmp_path / "warm", monkeypatch, warm=True).folder
    before = files(warm)
    assert "prostate-cspca/learned_embeds.safetensors" in before
    assert main(["pull", REPOSITORY]) == kind.exit_code
    assert files(warm) == before


@pytest.mark.parametrize(
    "name", ["tensor, one bit", "report of another embedding", "keyring forged", "HTML for JSON", "a bomb for a file"]
)
def test_verify_by_name_refuses_the_same(
    world: World, middle: Middleman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    middle.lies, kind = LIES[name]
    site = world.site(tmp_path / "site", monkeypatch, warm=True)
    refused(lambda: pulling.verify_path(REPOSITORY), kind)
    assert pulling.verify_path(site.folder / "prostate-cspca").version == "1.1.0"


def test_a_bomb_does_not_go_off(
    world: World, middle: Middleman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.site(tmp_path / "site", monkeypatch, warm=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for part in (INFO, EMBEDDING, TRUST):
        middle.lies = {part: answer(BOMB, "Content-Encoding: gzip")}
        with pytest.raises(RegistryError):
            pulling.pull(REPOSITORY) if part != TRUST else Hub(middle.url).trust_export()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB
