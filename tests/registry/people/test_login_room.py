"""Logins under way, in browsers and by programs: whoever begins thousands ends their own, and nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from embhub_registry.database.people import logins
from embhub_registry.people import auth
from embhub_registry.people.login import devices, sessions
from embhub_registry.storage.audit.actors import Actor, acting
from tests.support.servers import init_registry


def test_one_address_cannot_crowd_out_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST_ATTEMPTS", 20)
    running = init_registry(tmp_path)
    number = 0

    def begin(address: str) -> bytes:
        nonlocal number
        number += 1
        with acting(Actor("anonymous", address)), registry.database.writing() as db:
            sessions.make_room(db)
            digest = auth.digest(f"login {number}")
            expires = f"2099-01-01T00:00:{number // 60:02d}.{number % 60:03d}Z"
            logins.add_attempt(db, digest, kind="passkey", challenge="c", expires=expires, address=sessions.begun_at())
        return digest

    with running.opened() as registry:
        honest = [begin("192.0.2.1"), begin("2001:db8::1")]
        strangers = [begin(f"2001:db8:bad::{part:x}") for part in range(1, 200)]  # one /64
        late = begin("192.0.2.2")
        with registry.database.writing() as db:
            assert logins.count_attempts(db) == 20
            kept = [d for d in strangers if logins.use_attempt(db, d, kind="passkey", now="2026")]
            assert kept == strangers[-17:], "the oldest of theirs went"
            assert all(logins.use_attempt(db, d, kind="passkey", now="2026") for d in [*honest, late])


def test_one_line_cannot_crowd_out_the_programs_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home's line often has 256 networks of 64 bits, each of which may begin twenty."""
    monkeypatch.setattr(devices, "MOST", 20)
    with init_registry(tmp_path).opened() as registry:

        def begin(address: str) -> str:
            return devices.begin(registry, client="embhub", scope="read", days=1, address=address).user_code

        honest = [begin("192.0.2.1"), begin("2001:db8:1::1")]
        strangers = [begin(f"2001:db8:bad:{part:x}::1") for part in range(1, 60)]
        late = begin("192.0.2.2")
        assert all(devices.find(registry, code) for code in [*honest, late])
        assert [code for code in strangers if devices.find(registry, code)] == strangers[-17:], "the oldest went"
