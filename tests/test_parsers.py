"""Every parser, on any bytes and on damaged documents: it reads them or raises its own error, and nothing else."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from embhub.artifact import embedding, fingerprint, header, tokenizer_files
from embhub.audits.report import AuditReport, recompute
from embhub.cards import card, evaluation
from embhub.errors import ArtifactError, ConfigError, EmbhubError, UsageError, VerificationError
from embhub.formats import instants, names, plain_png, safe_yaml, slices, strict_json, tensors
from embhub.log import leaves, notes, policies, proofs
from embhub.log.errors import MalformedLogError
from embhub.privacy import claim as privacy
from embhub.refusals import (
    MalformedBundleError,
    MalformedEnvelopeError,
    MalformedKeyringError,
    MalformedStatementError,
    ReleaseRefusedError,
    WrongKeyError,
)
from embhub.release import lock_file, oci_layout, verification
from embhub.release.checks import base_report, study
from embhub.release.files import AUDIT, CARD, EMBEDDING, PUBLISH_BUNDLE, Release
from embhub.release.lock_file import Locked
from embhub.site.signing import keys
from embhub.study import plan
from embhub.trust import bundle, dsse, key_request, p256, proposal, statement
from embhub.trust import keyring as keyrings
from embhub_registry.admission import listing
from embhub_registry.admission import rules as admission
from embhub_registry.database.dialects import SQLITE
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.operation.backups import backup_file
from embhub_registry.operation.backups.backup_file import BadBackupError
from embhub_registry.people import auth
from embhub_registry.people import names as served_names
from embhub_registry.repositories import commits
from embhub_registry.repositories.proposal import Proposal
from embhub_registry.wire.hub_api import downloads, hf_api
from embhub_registry.wire.limits import bodies
from tests.support import base_reports, claims, evaluations, releases, study_records
from tests.support.damage import damaged, odd_json
from tests.support.quick import examples

RELEASE = releases.make_release()
STATEMENT = RELEASE.publish_bundle.envelope.payload
ENVELOPE = json.dumps(RELEASE.publish_bundle.envelope.to_json()).encode()
KEYRING = releases.make_keyring().to_bytes()
CARD_YAML = safe_yaml.dump(RELEASE.card.to_dict())
LOCKED = Locked(
    repository=releases.REPOSITORY, registry="hub.example.org", version="1.0.0", commit="0" * 40, embedding="a" * 64,
    statement="b" * 64, signer="SHA256:" + "s" * 43, root="SHA256:" + "r" * 43,
)  # fmt: skip
LOG = Path(__file__).parent / "embhub/log/golden"
POLICY = b"# who vouches\nquorum none\n"
MANIFEST = json.dumps(
    {
        "schema": "embhub.backup/2", "made": "x", "program": "x", "name": "x", "url": "x", "root_fingerprint": "x",
        "keyring_version": 1, "files": {}, "blobs": 0, "blob_bytes": 0, "objects_sha256": "0" * 64,
    }
).encode()  # fmt: skip


def read_audit(data: bytes) -> None:
    recompute(AuditReport.parse(data))


def read_card(data: bytes) -> None:
    read = card.from_readme(data)
    assert card.from_readme(card.to_readme(read)) == read


def read_statement(data: bytes) -> None:
    stated = statement.parse(data)
    for read in (statement.read_publish, statement.read_audit):
        try:
            read(stated)
        except MalformedStatementError:
            continue


def read_keyring(data: bytes) -> None:
    ring = keyrings.parse_keyring(data)
    assert keyrings.parse_keyring(ring.to_bytes()) == ring


def read_lock_file(data: bytes) -> None:
    rows = lock_file.parse(data)
    ordered = tuple(sorted(rows, key=lambda row: (row.registry, row.repository)))
    assert lock_file.parse(lock_file.to_bytes(rows)) == ordered


def read_key_request(data: bytes) -> None:
    assert key_request.parse(data).namespace == "radboud"


def read_rows(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (path := Path(folder) / "model.safetensors").write_bytes(data)
        with slices.SliceReader([path]) as reader:
            for key in reader.matrices:
                reader.read_row(key, 0)


def read_vocabulary(name: str) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / name).write_bytes(data)
            tokenizer_files.hash_vocabulary(Path(folder))

    return read


def read_key(data: bytes) -> None:
    keys._decode(data, name="x", passphrase=None)


def read_body(kind: str) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        async def receive() -> Message:
            return {"type": "http.request", "body": data, "more_body": False}

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", kind.encode())]}
        fields = asyncio.run(bodies.read_fields(Request(scope, receive)))
        assert all(isinstance(value, str) for values in fields.values() for value in values)

    return read


PARSERS: dict[str, tuple[Callable[[bytes], Any], tuple[type[Exception], ...], bytes]] = {
    "tensors": (tensors.parse, (ArtifactError,), RELEASE.files[EMBEDDING]),
    "embedding": (embedding.parse, (ArtifactError,), RELEASE.files[EMBEDDING]),
    "slices": (read_rows, (slices.BadWeightsError,), RELEASE.files[EMBEDDING]),
    "tokenizer.json": (
        read_vocabulary("tokenizer.json"), (tokenizer_files.BadTokenizerError,),
        b'{"model": {"vocab": {"a": 0, "b": 1}}}',
    ),
    "vocab.txt": (read_vocabulary("vocab.txt"), (tokenizer_files.BadTokenizerError,), b"a\nb\n"),
    "spiece.model": (
        read_vocabulary("spiece.model"), (tokenizer_files.BadTokenizerError,), b"\n\x05\n\x01a\x15\x00\n\x03\n\x01b",
    ),
    "json": (lambda data: strict_json.read(data, limit=10_000), (strict_json.JsonError,), STATEMENT),
    "yaml": (safe_yaml.load, (safe_yaml.YamlError,), CARD_YAML),
    "envelope": (dsse.parse, (MalformedEnvelopeError,), ENVELOPE),
    "bundle": (bundle.parse, (MalformedBundleError,), RELEASE.files[PUBLISH_BUNDLE]),
    "statement": (read_statement, (MalformedStatementError,), STATEMENT),
    "audit": (read_audit, (ArtifactError,), RELEASE.files[AUDIT]),
    "card": (card.parse_yaml, (ArtifactError,), CARD_YAML),
    "README.md": (read_card, (ArtifactError,), RELEASE.files[CARD]),
    "keyring": (read_keyring, (MalformedKeyringError,), KEYRING),
    "trust export": (
        keyrings.parse_export, (MalformedKeyringError, MalformedEnvelopeError, WrongKeyError), releases.make_export(),
    ),
    "proposal": (
        lambda data: proposal.open_proposal(proposal.parse(data)), (ReleaseRefusedError,),
        proposal.Proposal(keyrings.sign_keyring(releases.make_keyring(), root_key=releases.ROOT)).to_bytes(),
    ),
    "public key": (p256.read_public, (WrongKeyError,), releases.SITE.public_pem.encode()),
    "private key": (read_key, (ConfigError,), b"-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n"),
    "privacy claim": (
        lambda data: privacy.read_claim(data.decode("utf-8", "surrogateescape")), (EmbhubError,),
        privacy.write_claim(claims.make_claim()).encode(),
    ),
    "privacy claim of a study": (
        lambda data: privacy.read_claim(data.decode("utf-8", "surrogateescape")), (EmbhubError,),
        claims.make_study_claim().to_text().encode(),
    ),
    "study": (plan.read_study, (plan.StudyError,), claims.make_study().to_bytes()),
    "commit": (
        commits.parse, (RequestDeniedError,),
        b'{"key":"header","value":{}}\n{"key":"deletedFile","value":{"path":"a"}}',
    ),
    "front matter": (listing.front_matter, (), RELEASE.files[CARD]),
    "JSON body": (read_body("application/json"), (RequestDeniedError,), b'{"paths": ["a", "b"], "expand": true}'),
    "form": (read_body("application/x-www-form-urlencoded"), (RequestDeniedError,), b"paths=a&paths=b&expand=True"),
    "samples": (plain_png.check, (plain_png.NotPlainPngError,), releases.make_sheet()),
    "lock file": (read_lock_file, (UsageError,), lock_file.to_bytes([LOCKED])),
    "key request": (
        read_key_request, (VerificationError,),
        key_request.write("hub.example.org", "radboud", "publish", key=releases.SITE, now=releases.NOW),
    ),
    "evaluation": (evaluation.parse, (ArtifactError,), evaluations.report().to_bytes()),
    "base report": (base_report.parse, (ArtifactError, MalformedBundleError), base_reports.unsigned()),
    "study record": (
        lambda data: study.read_record(data, [study_records.trust()]), (ReleaseRefusedError,),
        study_records.record("e" * 64),
    ),
    "note": (notes.parse, (MalformedLogError,), (LOG / "cosigned").read_bytes()),
    "proof": (proofs.parse, (MalformedLogError,), (LOG / "proof.tlog-proof").read_bytes()),
    "leaf": (leaves.parse, (MalformedLogError,), (LOG / "entry.json").read_bytes()),
    "policy": (policies.parse, (MalformedLogError,), POLICY),
    "OCI layout": (
        oci_layout._parse, (UsageError,),
        b'{"artifactType": "a/b", "layers": [{"digest": "sha256:%b", "annotations": {"a": "b"}}]}' % (b"0" * 64),
    ),
    "backup": (backup_file.parse_manifest, (BadBackupError,), MANIFEST),
}  # fmt: skip


def is_json(document: bytes) -> bool:
    try:
        json.loads(document)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=examples(60))
@given(data=st.data())
def test_nothing_but_its_own_error(name: str, data: st.DataObject) -> None:
    parse, errors, valid = PARSERS[name]
    kinds = [damaged(valid), damaged(valid), st.binary(max_size=200)]
    document = data.draw(st.one_of([*kinds, odd_json(valid), odd_json(valid)] if is_json(valid) else kinds))
    try:
        parse(document)
    except errors as error:
        assert str(error) and len(str(error)) < 20_000


@pytest.mark.parametrize("name", [name for name in PARSERS if name != "private key"])
def test_what_is_damaged_there_was_valid(name: str) -> None:
    parse, _, valid = PARSERS[name]
    if name != "backup":  # a whole one needs the files that it names
        parse(valid)


@settings(max_examples=examples(80))
@given(data=st.data())
def test_admission_of_a_damaged_release(data: st.DataObject) -> None:
    """Whatever one file holds, the rules refuse or admit; a fault of ours would be another exception."""
    name = data.draw(st.sampled_from(sorted(RELEASE.files)))
    valid = RELEASE.files[name]
    kinds = [damaged(valid), odd_json(valid)] if is_json(valid) else [damaged(valid)]
    files = {**RELEASE.files, name: data.draw(st.one_of(kinds))}
    proposal = Proposal(
        repository=releases.REPOSITORY, files=files, before={}, versions=(), audit_required=False,
        trust=TRUST, now=releases.NOW,
    )  # fmt: skip
    try:
        admitted = admission.admit(proposal)
    except RequestDeniedError as error:
        assert error.status == 422 and error.rule and error.hint
    else:
        assert admitted.verified is not None and admitted.verified.digest == RELEASE.embedding.digest


TRUST = releases.make_trust()


@given(st.dictionaries(st.sampled_from([*header.REQUIRED_KEYS, *header.OPTIONAL_KEYS, "x"]), st.text(max_size=40)))
def test_any_header(metadata: dict[str, str]) -> None:
    good = dict(RELEASE.embedding.metadata)
    with pytest.raises(ArtifactError):
        header.check(metadata)
    try:
        header.check(good | metadata)
    except EmbhubError as error:
        assert error.message.isprintable()


@given(st.sampled_from(range(30)), odd_json(json.dumps(releases.BASE).encode()))
def test_any_fingerprint(_: int, document: bytes) -> None:
    value = json.loads(document)
    try:
        fingerprint.check(value)
    except fingerprint.BadFingerprintError:
        return
    assert len(fingerprint.digest(value)) == 64


@given(st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9._/+-]{0,50}", fullmatch=True))
def test_any_name(text: str) -> None:
    for fault in (names.namespace_fault, names.repository_fault, names.version_fault):
        found = fault(text)
        assert found is None or found.isprintable()
    if names.version_fault(text) is None:
        assert names.version_order(text) == names.version_order(text)
    for check in (
        served_names.check_ref,
        served_names.check_path,
        lambda name: served_names.check_repository("a", name),
    ):
        try:
            check(text)
        except RequestDeniedError as error:
            assert error.message.isprintable()
    try:
        instants.read(text)
    except ValueError:
        return


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(1, 5000))
def test_a_range_is_what_it_says(first: int, last: int, size: int) -> None:
    whole = bytes(number % 251 for number in range(size))
    part = downloads._part(f"bytes={first}-{last}", size)
    if last < first:
        assert part is None
    elif first < size:
        assert part is not None and whole[part[0] : part[1]] == whole[first : last + 1]
    else:
        assert part is not None and part[0] >= part[1], "answered with 416"
    suffix = downloads._part(f"bytes=-{last}", size)
    assert suffix is not None and whole[suffix[0] : suffix[1]] == whole[max(0, size - last) :]


@given(st.text(max_size=60) | st.from_regex(r"bytes=[0-9,-]{0,40}", fullmatch=True), st.integers(0, 3_000_000))
def test_any_range(asked: str, size: int) -> None:
    part = downloads._part(asked, size)
    assert part is None or (part[0] >= 0 and part[1] <= size)


@given(st.text(max_size=300), st.sampled_from(["", "Bearer ", "bearer  ", "Basic "]))
def test_any_token(text: str, scheme: str) -> None:
    """No header is taken for a token, before a database is asked."""

    class Nobody:
        dialect = SQLITE

        def execute(self, *args: Any) -> Any:
            raise LookupError

    try:
        nobody: Any = Nobody()
        auth.authenticate(nobody, scheme + text)
    except (RequestDeniedError, LookupError):
        return
    raise AssertionError


@given(st.text(max_size=80))
def test_any_cursor(text: str) -> None:
    try:
        found = hf_api.read_cursor(text)
    except RequestDeniedError:
        return
    assert found is not None and hf_api.read_cursor(hf_api.make_cursor(*found)) == found


@given(st.one_of(st.integers(-(2**62), 2**62), st.text(max_size=20)), st.integers(0, 2**62))
def test_a_cursor_comes_back(value: str | int, identity: int) -> None:
    assert hf_api.read_cursor(hf_api.make_cursor(value, identity)) == (value, identity)


def test_the_strictest_reader_of_all_takes_the_valid_release() -> None:
    assert verification.verify(Release.from_files(RELEASE.files), trust=TRUST, now=releases.NOW).version == "1.0.0"
