"""A log that a monitor reads and a witness cosigns, and a site that trusts it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from embhub.client.log.log_reader import LogSource
from embhub.client.monitor import watching
from embhub.site import config
from embhub.trust import logged as entries
from embhub.trust.dsse import Envelope
from embhub.trust.keyring import LogKey, Trust
from tests.support import logs, releases
from tests.support.logs import MemoryLog

KEY = logs.log_key()
ENTRIES = [logs.make_leaf(number).to_bytes() for number in range(20)]


def log(size: int, **changes: Any) -> MemoryLog:
    return replace(MemoryLog(ENTRIES[:size], KEY), **changes)


def trust() -> Trust:
    keyring = releases.make_keyring()
    return releases.make_trust(keyring.model_copy(update={"log": LogKey(vkey=str(KEY.public))}))


def look(source: LogSource, **options: Any) -> watching.Watched:
    return watching.look(source, KEY.public, trust(), now=releases.NOW, **options)


def kept(folder: str) -> list[Path]:
    return sorted((config.paths().state / folder).glob("*"))


OTHERS = [
    entries.leaf_of(Envelope(b"%d" % n, "text/plain", n.to_bytes(70, "big"), ""), releases.OTHER_SITE.public).to_bytes()
    for n in range(6)
]
WITH_A_THEFT = [*OTHERS[:3], ENTRIES[7], *OTHERS[4:]]


class TwoFaces:
    """One registry: every other time that its checkpoint is asked for, it is that of the second history."""

    def __init__(self, one: MemoryLog, other: MemoryLog) -> None:
        self.faces, self.asked, self.sent = (one, other), 0, list[bytes]()

    def read(self, name: str, *, limit: int) -> bytes | None:
        self.asked += name == "checkpoint"
        return self.faces[(self.asked - 1) % 2].read(name, limit=limit)

    def post(self, name: str, body: bytes) -> bytes:
        self.sent.append(body)
        return b""
