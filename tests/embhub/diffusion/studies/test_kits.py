"""What a site takes of a kit that a coordinator made, who may lie: a certificate and an address."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from embhub.diffusion.studies import joining, seats
from embhub.diffusion.studies.flare import kits, network
from embhub.errors import ConfigError, RegistryError, UsageError
from tests.support.study_runs import study_of

EVIL = {"id": "x", "path": "subprocess.Popen", "args": {"args": ["touch", "/nonexistent"]}}


def _kit(folder: Path, name: str, target: str) -> Path:
    """A machine's files as FLARE writes them, without FLARE."""
    for place in ("local", "startup"):
        (folder / place).mkdir(parents=True)
    facts = {"servers": [{"service": {"target": target}}], "client": {"fqsn": name}}
    (folder / "startup" / "fed_client.json").write_text(json.dumps(facts))
    for file in kits.CERTIFICATES:
        (folder / "startup" / file).write_text(f"-----BEGIN made by {folder.name} {file}")
    (folder / "local" / "resources.json.default").write_text(json.dumps({"components": []}))
    return folder


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kit that runs a program at the site that starts it, and a FLARE that writes honest ones."""

    def provision(folder: Path, host: str, port: int, sites: list[str]) -> Path:
        for site in sites:
            network.guard(_kit(folder / "kits" / site, site, f"{host}:{port}"), [network.ANSWERING])
        return folder / "kits"

    monkeypatch.setattr(network, "provision", provision)
    kit = _kit(tmp_path / "given", "north", "hub.example.org:8102")
    for name in ("resources.json", "resources.json.default"):
        (kit / "local" / name).write_text(json.dumps({"components": [EVIL], "class_allow_list": ["*"]}))
    (kit / "local" / "log_config.json").write_text(json.dumps({"filters": {"x": {"()": "subprocess.Popen"}}}))
    (kit / "local" / "custom").mkdir()
    (kit / "local" / "custom" / "embhub.py").write_text("raise SystemExit")
    return kit


def test_a_site_takes_a_certificate_and_an_address_of_a_kit_and_nothing_else(given: Path, tmp_path: Path) -> None:
    own = kits.adopt(given, "north", tmp_path / "flare")
    text = {path.relative_to(own).as_posix(): path.read_text() for path in own.rglob("*") if path.is_file()}
    assert all(text[f"startup/{name}"] == f"-----BEGIN made by given {name}" for name in kits.CERTIFICATES)
    assert json.loads(text["startup/fed_client.json"])["servers"][0]["service"]["target"] == "hub.example.org:8102"
    assert json.loads(text["local/resources.json"])["class_allow_list"] == [network.ANSWERING]
    assert not any("subprocess" in content for content in text.values())
    assert not {"local/log_config.json", "local/custom/embhub.py"} & text.keys()
    assert kits.adopt(given, "north", tmp_path / "flare") == own, "after a restart it is made anew"


@pytest.mark.parametrize("target", ["hub.example.org", "hub;rm:8102", "hub.example.org:81x", ":8102", 7])
def test_a_kit_that_names_no_address_is_refused(given: Path, tmp_path: Path, target: Any) -> None:
    (given / "startup" / "fed_client.json").write_text(json.dumps({"servers": [{"service": {"target": target}}]}))
    with pytest.raises(ConfigError, match="no coordinator"):
        kits.adopt(given, "north", tmp_path / "flare")


@pytest.mark.parametrize("content", [None, b"#!/bin/sh", b"-----BEGIN " + bytes(70_000)])
def test_a_kit_without_a_certificate_is_refused(given: Path, tmp_path: Path, content: bytes | None) -> None:
    key = given / "startup" / "client.key"
    key.unlink() if content is None else key.write_bytes(content)
    with pytest.raises(ConfigError):
        kits.adopt(given, "north", tmp_path / "flare")


def test_who_takes_part_starts_a_machine_of_its_own_and_not_the_kit(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, started = study_of(), list[Path]()

    class Fetched:
        missing: tuple[str, ...] = ()
        keys: Mapping[str, Any] = MappingProxyType({})
        plan = study

    def start(kit: Path) -> Any:
        started.append(kit)
        raise network.CarrierError("FLARE is not started here")

    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(joining, "_open_study", lambda *_: Fetched)
    monkeypatch.setattr(kits, "start", start)
    monkeypatch.setattr(network, "start", start)
    seats.take_seat(study, seats.Seat(study.sites[0], "images"))
    with pytest.raises(network.CarrierError, match="not started"):
        joining.take_part(study.digest, given, registry=None)
    (kit,) = started
    assert given not in kit.parents and kit != given
    assert kit.is_relative_to(seats.place(study.digest, "site"))


def test_who_takes_part_stops_once_another_site_withdrew(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, asked, stopped, looks = study_of(), list[int](), list[Any](), itertools.count()

    class Fetched:
        missing: tuple[str, ...] = ()
        keys: Mapping[str, Any] = MappingProxyType({})
        plan = study

    def look(*_: Any) -> Any:
        asked.append(1)
        if len(asked) == 2:
            raise RegistryError("not there just now", "try again")
        if len(asked) > 2:
            raise UsageError("south withdrew", "propose another")
        return Fetched

    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(joining, "_open_study", look)
    monkeypatch.setattr(joining, "LISTEN", 0.0)
    monkeypatch.setattr(joining, "_check_alive", lambda *_: next(looks) < 50 or pytest.fail("it never looked"))
    monkeypatch.setattr(kits, "start", lambda own: own)
    monkeypatch.setattr(network, "stop", stopped.append)
    seats.take_seat(study, seats.Seat(study.sites[0], "images"))
    with pytest.raises(UsageError, match="south withdrew"):
        joining.take_part(study.digest, given, registry=None, look=0.01)
    assert len(stopped) == 1, "its machine runs no longer, and signs nothing"
