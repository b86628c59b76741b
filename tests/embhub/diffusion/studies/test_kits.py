"""What a site takes of a kit that a coordinator made, who may lie: a certificate and an address."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest

from embhub.diffusion.studies import joining, seats
from embhub.diffusion.studies.flare import kits, relay
from embhub.errors import ConfigError, RegistryError, UsageError
from embhub.ledger import studies as ledger
from tests.support.study_joins import write_kit
from tests.support.study_runs import KEYS, study_of


def test_a_kit_is_three_files_of_a_certificate_and_an_address(tmp_path: Path) -> None:
    given = write_kit(tmp_path / "north")
    (given / "local").mkdir()
    (given / "local" / "custom.py").write_text("raise SystemExit")
    kit = kits.read(given)
    assert (kit.host, kit.port) == ("hub.example.org", 8102)
    assert [path.name for path in (kit.root, kit.certificate, kit.key)] == list(kits.CERTIFICATES)


def test_a_copy_has_what_is_known_of_a_kit_and_nothing_else(tmp_path: Path) -> None:
    """FLARE takes further files that lie beside a certificate, and settings that name code."""
    given, room = write_kit(tmp_path / "north"), tmp_path / "room"
    for more in ("server.crt", "customRootCA.pem", "comm_config.json"):
        (given / more).write_text("{}")
    kits.copy(given, room)
    assert sorted(path.name for path in room.iterdir()) == sorted((*kits.CERTIFICATES, kits.ADDRESS))
    assert kits.read(room).key.read_bytes() == (given / kits.CERTIFICATES[2]).read_bytes()


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
@pytest.mark.parametrize("name", [kits.ADDRESS, kits.CERTIFICATES[0]])
def test_a_kit_of_other_things_than_files_is_refused_at_once(tmp_path: Path, make: Any, name: str) -> None:
    given = write_kit(tmp_path / "north")
    (given / name).unlink()
    make(given / name)
    with pytest.raises(ConfigError):
        kits.read(given)


@pytest.mark.parametrize("name", ["server", "coordinator", "localhost"])
def test_no_site_is_called_as_the_coordinators_machine_is(tmp_path: Path, name: str) -> None:
    with pytest.raises(kits.CarrierError, match="called"):
        kits.provision(tmp_path / "study", "localhost", 8102, ["north", name])


@pytest.mark.parametrize(
    ("host", "port"), [("hub;rm", 8102), ("hub.example.org/x?secure=false", 1), ("", 8102), ("hub", "81x"), ("hub", 0)]
)
def test_a_kit_that_names_no_address_is_refused(tmp_path: Path, host: str, port: Any) -> None:
    with pytest.raises(ConfigError, match="no coordinator"):
        kits.read(write_kit(tmp_path / "north", host=host, port=port))


@pytest.mark.parametrize("content", [b"{", b"[]", b"7", b'{"host": "hub"}', b"[" * 9_000, bytes(70_000)])
def test_an_address_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes) -> None:
    given = write_kit(tmp_path / "north")
    (given / kits.ADDRESS).write_bytes(content)
    with pytest.raises(ConfigError):
        kits.read(given)


@pytest.mark.parametrize("content", [None, b"#!/bin/sh", b"-----BEGIN " + bytes(70_000)])
def test_a_kit_without_a_certificate_is_refused(tmp_path: Path, content: bytes | None) -> None:
    given = write_kit(tmp_path / "north")
    key = given / kits.CERTIFICATES[2]
    key.unlink() if content is None else key.write_bytes(content)
    with pytest.raises(ConfigError):
        kits.read(given)


def test_without_flare_it_is_said_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    given = write_kit(tmp_path / "north")
    with pytest.raises(kits.CarrierError, match="not installed"), relay.started(given, "north", tmp_path / "log"):
        pass
    with pytest.raises(kits.CarrierError, match="not installed"):
        kits.provision(tmp_path / "study", "localhost", 8102, ["north"])


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ("withdrawal", "south withdrew"),
        ("theft", "key by which south joined was revoked"),
        ("left", "has left"),
        ("judged", "did not sign it"),
    ],
)
def test_who_takes_part_stops_once_there_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str, words: str
) -> None:
    study, asked, stopped, looks = study_of(), list[int](), list[str](), itertools.count()
    site = study.sites[0]

    class Fetched:
        missing: tuple[str, ...] = ()
        keys: Mapping[str, Any] = MappingProxyType({name: KEYS[name].public for name in study.sites})
        plan = study

    def look(*_: Any) -> Any:
        asked.append(1)
        if len(asked) == 2:
            raise RegistryError("not there just now", "try again")
        if len(asked) > 2 and ends == "withdrawal":
            raise UsageError("south withdrew", "propose another")
        if len(asked) > 2 and ends in ("left", "judged"):
            (seats.place(study.digest, "site") / ends).write_text("ab" * 32)
        if len(asked) > 2 and ends == "theft":
            Fetched.missing = ("south",)
        return Fetched

    @contextmanager
    def started(_kit: Path, name: str, _log: Path) -> Iterator[Any]:
        try:
            yield SimpleNamespace(task=lambda _seconds: None if next(looks) < 50 else pytest.fail("it never looked"))
        finally:
            stopped.append(name)

    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(joining, "_open_study", look)
    monkeypatch.setattr(joining, "LISTEN", 0.0)
    monkeypatch.setattr(relay, "started", started)
    seats.take_seat(study, seats.Seat(site, "images"))
    ledger.charge(study, ["anna"])
    with pytest.raises(UsageError, match=words):
        joining.take_part(study.digest, write_kit(tmp_path / "north"), registry=None, look=0.01, linger=0.0)
    assert stopped == [site], "its connection is closed, and it signs nothing"
