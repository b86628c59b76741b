"""The corpus: valid files, and one of each kind of damage. `python -m tests.fuzz.make_corpus` writes it anew.

Files whose names begin with `regression-` were found by a fuzzer once; they are kept.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from embhub.artifact import header
from embhub.formats import tensors
from embhub.log import merkle, tiles, witnessing
from embhub.release import lock_file
from embhub.release.files import EMBEDDING, PUBLISH_BUNDLE
from embhub.release.lock_file import Locked
from embhub.trust import audit_designs, bundle
from embhub_registry.static import items
from tests.support import base_reports, designs, hostile_files, logs, releases, study_records

CORPUS = Path(__file__).parent / "corpus"
HEAD = b'{"key":"header","value":{"summary":"a","description":"b"}}\n'


def make_safetensors() -> Iterator[tuple[str, bytes]]:
    """Small files of every number type and layout, and the hostile ones."""
    rows = np.arange(8, dtype=np.float32).reshape(2, 4)
    words = header.compose(
        token="<a>", base=releases.BASE, base_name="builtin", training={"steps": 1}, architecture="x/textual-inversion",
        body_digest="0" * 64,
    )  # fmt: skip
    yield "float32", tensors.serialize({"emb_params": rows}, words)
    yield "float16", tensors.serialize({"emb_params": rows.astype(np.float16)}, {"format": "pt"})
    yield "two", tensors.serialize({"clip_g": rows, "clip_l": rows}, words)
    yield "no-metadata", tensors.serialize({"emb_params": rows}, {})
    text = b'{"emb_params":{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]}}'
    yield "bfloat16", len(text).to_bytes(8, "little") + text + b"\x80\x3f\x80\x3f"
    release = releases.make_release(artifact=releases.make_embedding())
    for number, case in enumerate(case for case in hostile_files.CASES if case.group == "Files"):
        data = case.make(release).get(EMBEDDING)
        if data is not None and len(data) < 10_000:
            yield f"hostile-{number:02}", data


def make_bundles() -> Iterator[tuple[str, bytes]]:
    """A release's bundle, and the hostile ones."""
    release = releases.make_release()
    yield "publish", release.files[PUBLISH_BUNDLE]
    yield "base-report", bundle.to_json(base_reports.signed(created=releases.NOW).envelope)
    yield "indented", json.dumps(json.loads(release.files[PUBLISH_BUNDLE]), indent=1).encode()
    for number, case in enumerate(case for case in hostile_files.CASES if case.group == "Envelope"):
        data = case.make(release).get(PUBLISH_BUNDLE)
        if data is not None and len(data) < 10_000:
            yield f"hostile-{number:02}", data


def make_envelopes() -> Iterator[tuple[str, bytes]]:
    """The envelopes of those bundles."""
    for name, data in make_bundles():
        try:
            document = json.loads(data)
        except ValueError:
            continue
        if isinstance(document, dict) and "dsseEnvelope" in document:
            yield name, json.dumps(document["dsseEnvelope"]).encode()
    short = bundle.parse(releases.make_release().files[PUBLISH_BUNDLE]).envelope.to_json()
    yield "short", json.dumps({**short, "payload": "e30="}).encode()


def make_commits() -> Iterator[tuple[str, bytes]]:
    """Commits of each operation, and what is refused."""

    def line(key: str, **value: object) -> bytes:
        return json.dumps({"key": key, "value": value}).encode() + b"\n"

    def file(path: str, content: bytes = b"x") -> bytes:
        return line("file", path=path, content=base64.b64encode(content).decode(), encoding="base64")

    yield "one-file", HEAD + file("README.md", b"# Soon\n")
    yield "two-files", HEAD + file("README.md") + file("attestations/b.json")
    yield "plain-text", HEAD + line("file", path="audit.json", content="{}\u00e9\U0001f600", encoding="utf-8")
    yield "deletes", HEAD + line("deletedFile", path="README.md") + line("deletedFolder", path="attestations/")
    yield "parent", line("header", summary="a", parentCommit="0" * 40) + file("a.txt")
    yield "header-last", file("a.txt") + HEAD
    yield "blank-lines", b"\n\n" + HEAD + b"\n" + file("a.txt") + b"\n\n"
    yield "two-headers", HEAD + HEAD
    yield "lfs", HEAD + line("lfsFile", path="a", algo="sha256", oid="0" * 64, size=1)
    yield "twice", HEAD + file("a") + file("a")
    yield "file-and-folder", HEAD + file("a") + file("a/b")
    yield "not-base64", HEAD + line("file", path="a", content="***", encoding="base64")
    yield "encoding", HEAD + line("file", path="a", content="x", encoding="rot13")
    yield "duplicate-key", HEAD + b'{"key":"file","key":"file","value":{"path":"a"}}\n'
    yield "deep", HEAD + b'{"key":"file","value":' + b"[" * 60
    yield "surrogate", HEAD + b'{"key":"file","value":{"path":"a","content":"\\ud800"}}\n'
    for number, path in enumerate(("../a", "/a", "a\\b", "a//b", ".git/x", "%2e%2e/a", "a\0", "\u202ea", "a" * 300)):
        yield f"path-{number}", HEAD + file(path)


def make_locks() -> Iterator[tuple[str, bytes]]:
    """Lock files of none, one and two releases, and what is refused."""
    one = Locked(
        repository="radboud/prostate-cspca", registry="hub.example.org", version="1.0.0", commit="0" * 40,
        embedding="a" * 64, statement="b" * 64, signer="SHA256:" + "s" * 43, root="SHA256:" + "r" * 43,
    )  # fmt: skip
    whole = lock_file.to_bytes([one])
    yield "none", lock_file.to_bytes([])
    yield "one", whole
    yield "two", lock_file.to_bytes([one, replace(one, repository="nki/lung", commit=None)])
    yield "schema", whole.replace(b"lock/1", b"lock/2")
    yield "twice", whole.replace(b'"version": "1.0.0"', b'"version": "1.0.0", "version": "1.0.1"')
    yield "path", whole.replace(b"radboud/", b"../")


def make_logs() -> Iterator[tuple[str, bytes]]:
    """One of each format of a log, and the kinds of damage that are nearest to it."""
    entries = [logs.make_leaf(number).to_bytes() for number in range(5)]
    log = logs.MemoryLog(entries, logs.log_key(), witnesses=[logs.witness_key()])
    note, proof = log.checkpoint().note, log.proof_of(3)
    request = witnessing.make(3, merkle.consistency_proof(3, 5, log.node), note).to_bytes()
    whole = {"checkpoint": note.to_bytes(), "proof": proof.to_bytes(), "entry": entries[0], "request": request,
             "answer": str(note.signatures[1]).encode(), "entries": tiles.join_entries([b"ab", b""]),
             "tile": b"tile/0/x001/234.p/5"}  # fmt: skip
    policy = f"witness A {logs.witness_key().public}\ngroup G any A\nquorum G\nlog {logs.log_key().public}\n"
    yield "policy", policy.encode()
    yield "mldsa", replace(log, second=logs.mldsa_key()).checkpoint().to_bytes()
    yield "key", str(logs.log_key().public).encode()
    yield "key-mldsa", str(logs.mldsa_key().public).encode()
    yield "extra", replace(proof, extra=b"x").to_bytes()
    audit = designs.register(releases.make_embedding())
    whole |= {"design": audit.registration.to_bytes(), "result": audit_designs.write_result(audit.result)}
    kept = [items.of_bytes("log/tile/0/000", b"x", stage=items.TILES), items.of_bytes("a.json", b"", stage=items.LISTS)]
    yield "list", items.manifest(kept, registry="127.0.0.1", checkpoint="c").read()
    yield (
        "list-outside",
        items.manifest(
            [items.of_bytes("a/../../b", b"", stage=items.LISTS)], registry="127.0.0.1", checkpoint="c"
        ).read(),
    )
    for name, data in whole.items():
        yield name, data
        yield f"{name}-zero", data.replace(b"5", b"05", 1)
        yield f"{name}-return", data.replace(b"\n", b"\r\n", 1)
        yield f"{name}-cut", data[:-1]


def make_studies() -> Iterator[tuple[str, bytes]]:
    """The record of a study, whole, without consents, and with one of a stranger."""
    whole = study_records.record("e" * 64)
    yield "whole", whole
    yield "no-consents", study_records.record("e" * 64, consenting=())
    yield "stranger", study_records.record("e" * 64, consents={"nki": "MEUCIQ=="})
    yield "no-joins", study_records.record("e" * 64, joins={})
    yield "schema", whole.replace(b"record/1", b"record/2")


MAKERS = {
    "safetensors": make_safetensors,
    "envelope": make_envelopes,
    "bundle": make_bundles,
    "commit": make_commits,
    "lock": make_locks,
    "log": make_logs,
    "study": make_studies,
}


def main() -> None:
    """Write every seed; regressions stay."""
    for target, make in MAKERS.items():
        folder = CORPUS / target
        kept = {path.name: path.read_bytes() for path in folder.glob("regression-*")}
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, data in {**dict(make()), **kept}.items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
