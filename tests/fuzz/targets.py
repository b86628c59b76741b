"""What the fuzzer calls: each takes any bytes, and raises only where a parser breaks its promise.

A promise is: no exception but the parser's own, and what was read is written again to what reads the same.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from embhub.artifact import embedding
from embhub.errors import ArtifactError, UsageError
from embhub.formats import tensors
from embhub.refusals import (
    MalformedBundleError,
    MalformedEnvelopeError,
    MalformedStatementError,
    ReleaseRefusedError,
    WrongPredicateError,
)
from embhub.release import lock_file
from embhub.release.checks import base_report, study
from embhub.trust import bundle, dsse, statement
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.people.names import check_path
from embhub_registry.repositories import commits
from tests.fuzz.log_parsers import LOG_PARSERS
from tests.support import study_records

_TRUST = study_records.trust()


def read_safetensors(data: bytes) -> None:
    """The container, then the embedding's own header in it."""
    try:
        file = tensors.parse(data)
    except ArtifactError as error:
        assert error.message
        with contextlib.suppress(ArtifactError):
            embedding.parse(data)
        return
    for tensor in file.tensors.values():
        assert tensor.values.ndim == 2 and np.isfinite(tensor.values).all()
    if all(tensor.dtype != "bfloat16" for tensor in file.tensors.values()):
        written = tensors.serialize({name: tensor.values for name, tensor in file.tensors.items()}, file.metadata)
        again = tensors.parse(written)
        assert again.metadata == file.metadata and again.tensors.keys() == file.tensors.keys()
    with contextlib.suppress(ArtifactError):
        assert embedding.parse(data).data == data


def read_envelope(data: bytes) -> None:
    """A DSSE envelope."""
    try:
        envelope = dsse.parse(data)
    except MalformedEnvelopeError as error:
        assert error.message
        return
    assert dsse.parse(json.dumps(envelope.to_json()).encode()) == envelope
    read_statement(envelope.payload)


def read_bundle(data: bytes) -> None:
    """A Sigstore bundle and the statement in it."""
    try:
        found = bundle.parse(data)
    except MalformedBundleError as error:
        assert error.message
        return
    named = replace(found.envelope, keyid=found.hint)
    assert bundle.parse(bundle.to_json(named)).envelope == named
    read_statement(found.envelope.payload)


def read_statement(payload: bytes) -> None:
    """A statement and its predicate."""
    try:
        stated = statement.parse(payload)
        written = statement.parse(stated.to_bytes())
        assert (written.digest, written.predicate_type) == (stated.digest, stated.predicate_type)
        for read in (statement.read_publish, lambda _: base_report.read_facts(payload)):
            with contextlib.suppress(WrongPredicateError):
                read(stated)
    except (MalformedStatementError, ArtifactError) as error:
        assert error.message


def read_commit(data: bytes) -> None:
    """A commit body, and what it would make of a small repository."""
    try:
        asked = commits.parse(data)
    except RequestDeniedError as error:
        assert error.status in {400, 413} and error.message and error.message.isprintable()
        return
    for path in {*asked.files, *asked.deleted, *asked.deleted_folders}:
        assert check_path(path) == path and ".." not in path.split("/")
    try:
        kept, added = commits.apply(asked, {"README.md": "0", "attestations/a.json": "1"})
    except RequestDeniedError as error:
        assert error.status in {400, 404}
        return
    assert added == asked.files and not kept & added.keys()


def read_lock(data: bytes) -> None:
    """A lock file."""
    try:
        rows = lock_file.parse(data)
    except UsageError as error:
        assert error.message
        return
    written = lock_file.to_bytes(rows)
    assert set(lock_file.parse(written)) == set(rows) and lock_file.to_bytes(lock_file.parse(written)) == written


def read_study(data: bytes) -> None:
    """The record of a study."""
    try:
        found = study.read_record(data, [_TRUST])
    except ReleaseRefusedError as error:
        assert error.message
        return
    assert found.consents.keys() <= found.keys.keys() <= set(found.study.sites)


def read_log(data: bytes) -> None:
    """Whatever a log, a witness or somebody in between sends: each parser takes it in its one spelling, or refuses."""
    for parser in LOG_PARSERS.values():
        parser(data)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "safetensors": read_safetensors,
    "envelope": read_envelope,
    "bundle": read_bundle,
    "commit": read_commit,
    "lock": read_lock,
    "log": read_log,
    "study": read_study,
}


def read_all(data: bytes) -> None:
    """Every parser, since none may mind what belongs to another."""
    for target in TARGETS.values():
        target(data)
