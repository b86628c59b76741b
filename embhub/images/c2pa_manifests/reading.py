"""What a C2PA manifest says of a file, verified: is it whole, and does a key that this site knows stand behind it?

c2pa's library checks hashes, signature and chain, in a process of its own with limits. Who the signer is decides the
keyrings here: the key that a certificate names is looked up, and the file is read again with that key as the only
anchor. A certificate that names a key which did not sign it is a forgery.
"""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from embhub.errors import UsageError
from embhub.formats import strict_json
from embhub.images.c2pa_manifests import certificate, library
from embhub.trust.keyring import KnownKey, Trust

State = Literal["whole", "broken", "unreadable"]
Signer = Literal["known", "accepted", "revoked", "forged", "unknown"]
PATIENCE = 30.0
"""Seconds for one file."""
MAX_BYTES = 256_000_000
"""Of a file that is read."""
MAX_MANIFEST = 10_000_000
"""Of a manifest that stands beside its file."""
_MOST_ANSWER = 100_000
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SIGNATURE_FAULTS = ("claimSignature.", "signingCredential.invalid", "signingCredential.expired")


@dataclass(frozen=True)
class Manifest:
    """A manifest that was read. Only what is `whole` says anything; `why` says what is wrong with another.

    `signer` is known (a key of a keyring of this site, `key`), accepted (a chain to a certificate that the caller
    named), revoked, unknown, or forged: it names a known key that did not sign it. `source_type` is a value of IPTC's
    DigitalSourceType, `embeddings` and `base` are SHA-256 digests.
    """

    state: State
    signer: Signer = "unknown"
    key: KnownKey | None = None
    named: str = ""
    source_type: str = ""
    embeddings: tuple[str, ...] = ()
    base: str | None = None
    why: str = ""


class ManifestReader:
    """Reads manifests, with the keyrings of this site and the certificates (PEM) that somebody trusts besides."""

    def __init__(self, trusts: Sequence[Trust] = (), *, anchors: str = "") -> None:
        self._trusts, self._anchors = trusts, anchors
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @staticmethod
    def available() -> bool:
        """Whether c2pa's library is installed."""
        try:
            library.load()
        except UsageError:
            return False
        return True

    def read(self, path: Path, *, sidecar: Path | None = None) -> Manifest:
        """The manifest in a file, or in `sidecar` about it. Never raises for what is in them."""
        try:
            sizes = [path.stat().st_size, *([sidecar.stat().st_size] if sidecar is not None else [])]
        except OSError:
            return Manifest("unreadable", why="the file cannot be read")
        if any(size > most for size, most in zip(sizes, (MAX_BYTES, MAX_MANIFEST), strict=False)):
            return Manifest("unreadable", why="the file is too large to be checked")
        found = self._ask(path, sidecar, self._anchors)
        if found.get("state") not in ("Valid", "Trusted"):
            return _failed(found)
        named = str(found.get("signer", ""))
        known = self._lookup(named)
        if known is None:
            return _whole(found, "accepted" if found["state"] == "Trusted" else "unknown", None, named)
        again = self._ask(path, sidecar, certificate.anchor(known.public_key))
        if again.get("state") != "Trusted" or again.get("signer") != named:
            return Manifest(
                "broken", "forged", known, named, why=f"it names a key that did not sign it: {known.fingerprint}"
            )
        return _whole(again, "known" if known.revocation is None else "revoked", known, named)

    def _lookup(self, named: str) -> KnownKey | None:
        """The key that a certificate names, as the gravest of the keyrings has it."""
        fingerprint = certificate.claimed_key(named)
        found = [key for trust in self._trusts if fingerprint and (key := trust.lookup(fingerprint))]
        return max(found, key=lambda key: key.revocation is not None, default=None)

    def _ask(self, path: Path, sidecar: Path | None, anchors: str) -> dict[str, Any]:
        request = {"path": str(path.resolve()), "sidecar": str(sidecar.resolve()) if sidecar else None}
        try:
            answer = self._exchange(json.dumps({**request, "anchors": anchors}).encode() + b"\n")
            found = strict_json.loads(answer)
        except (OSError, ValueError):
            self._end()
            return {"state": "unreadable", "why": "reading it failed"}
        return found if isinstance(found, dict) else {"state": "unreadable"}

    def _exchange(self, request: bytes) -> bytes:
        """A request and its answer. Raises OSError where the process dies, hangs or says too much."""
        process = self._process = self._process or _start()
        if process.stdin is None or process.stdout is None:
            raise OSError("no pipes")
        process.stdin.write(request)
        process.stdin.flush()
        answer, end, pipe = b"", time.monotonic() + PATIENCE, process.stdout.fileno()
        while not answer.endswith(b"\n"):
            ready, _, _ = select.select([pipe], [], [], max(0.0, end - time.monotonic()))
            more = os.read(pipe, 65_536) if ready else b""
            if not more or len(answer) > _MOST_ANSWER:
                raise OSError("no answer")
            answer += more
        return answer

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.communicate()


def _start() -> subprocess.Popen[bytes]:
    # -P: no module of the folder that the command is run in.
    command = [sys.executable, "-P", "-m", "embhub.images.c2pa_manifests.reader_process"]
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nothing)


def _failed(found: Mapping[str, Any]) -> Manifest:
    if found.get("state") != "Invalid":
        return Manifest("unreadable", why=str(found.get("why") or "there is no manifest in it that can be read"))
    codes = [str(code) for code in found.get("codes") or ()]
    if any("Hash" in code and "mismatch" in code for code in codes):
        return Manifest("broken", why="the file or the manifest was changed after it was signed")
    if any(code.startswith(_SIGNATURE_FAULTS) for code in codes):
        return Manifest("broken", why="its signature or its certificate is not valid")
    return Manifest("broken", why=f"it is not valid ({', '.join(codes[:3]) or 'no reason given'})")


def _whole(found: Mapping[str, Any], signer: Signer, key: KnownKey | None, named: str) -> Manifest:
    digests = tuple(str(one) for one in found.get("embeddings") or () if _DIGEST.fullmatch(str(one)))
    base = str(found.get("base") or "")
    return Manifest(
        "whole", signer, key, named, str(found.get("source_type") or ""), digests,
        base if _DIGEST.fullmatch(base) else None,
    )  # fmt: skip
