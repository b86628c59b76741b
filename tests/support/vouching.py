"""A witness that a site relies on: its key, what it cosigns at a running registry, and the site's log policy."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from embhub.log import checkpoints, notes
from embhub.log.notes import NoteSigner
from embhub.refusals import Finding
from embhub.release.verification import Verified
from tests.support import logs
from tests.support.servers import RunningRegistry

KEY = logs.witness_key("watch.umcu.example", 7)


def begin(registry: RunningRegistry, *, key: NoteSigner = KEY) -> None:
    """The registry's operator accepts the witness, which cosigns what is in the log by now."""
    registry.run("log", "witness", str(key.public))
    cosign(registry, key=key)


def cosign(registry: RunningRegistry, *, key: NoteSigner = KEY) -> None:
    """Cosign the newest checkpoint at this moment, as a round of `embhub log watch --cosign` does."""
    note = notes.parse(registry.get("/log/checkpoint").body)
    line = checkpoints.cosign(checkpoints.parse(note), by=key, time=int(time.time()))
    answer = registry.request(
        "POST", "/log/cosignature", body=notes.Note(note.text, (*note.signatures, line)).to_bytes()
    )
    assert answer.status == 200, answer.body


def rely(home: Path, *, key: NoteSigner = KEY) -> Path:
    """Write the log policy of the site with this home: the witness alone is its quorum."""
    path = home / "config" / "log-policy"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"witness W {key.public}\nquorum W\n")
    return path


def vouched(verified: Verified) -> Verified:
    """The release as if the site's quorum had cosigned its checkpoint: for checks that ask no log."""
    return replace(verified, findings=(*verified.findings, Finding("log-witnesses", "ok", "fresh")))
