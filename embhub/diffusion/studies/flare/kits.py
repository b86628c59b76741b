"""Kits: a machine's certificate and where the coordinator is. Imports FLARE late.

The coordinator makes all of them and gives each site its own. A site uses a `copy` with the files that it knows, and
nothing else: a coordinator may lie, and put anything into the folder, where FLARE would look for more.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from embhub.durable import write_atomic
from embhub.errors import ConfigError
from embhub.formats import strict_json
from embhub.project import how_to_install

COORDINATOR: Final = "coordinator"
CERTIFICATES: Final = ("rootCA.pem", "machine.crt", "machine.key")
ADDRESS: Final = "address.json"
_PROJECT = "embhub"
_MOST_BYTES = 64_000
_HINT = "`embhub study propose` writes one for each machine; ask the coordinator for this site's"


class CarrierError(ConfigError):
    """FLARE is missing, or did not do what it was asked for."""


@dataclass(frozen=True)
class Kit:
    """Where the coordinator is, and the files of a machine's certificate: those of the study, its own, and its key."""

    host: str
    port: int
    root: Path
    certificate: Path
    key: Path


def provision(folder: Path, host: str, port: int, sites: Sequence[str]) -> Path:
    """Kits for a coordinator at `host`:`port` and for these sites; returns where they lie, by name.

    Raises:
        CarrierError: FLARE is missing, or refuses a name.
        ConfigError: there are kits already.
    """
    if (kits := folder / "kits").exists():
        raise ConfigError(f"{kits} is there already", "a study's kits are made once")
    if taken := {COORDINATOR, "server", host} & set(sites):
        raise CarrierError(f"no site can be called {taken.pop()}", "the coordinator's machine is")
    people = [
        {"name": host, "type": "server", "org": COORDINATOR, "fed_learn_port": port, "admin_port": port},
        *({"name": site, "type": "client", "org": "site"} for site in sites),
    ]
    builders = [
        {"path": "nvflare.lighter.impl.workspace.WorkspaceBuilder", "args": {"template_file": ["master_template.yml"]}},
        {"path": "nvflare.lighter.impl.static_file.StaticFileBuilder",
         "args": {"config_folder": "config", "scheme": "tcp"}},
        {"path": "nvflare.lighter.impl.cert.CertBuilder"},
    ]  # fmt: skip
    project = {"api_version": 3, "name": _PROJECT, "participants": people, "builders": builders}
    write_atomic(folder / "project.yml", json.dumps(project).encode())
    _nvflare("provision", "-p", str(folder / "project.yml"), "-w", str(folder / "made"))
    made = folder / "made" / _PROJECT / "prod_00"
    for name, kit, kind in ((host, COORDINATOR, "server"), *((site, site, "client") for site in sites)):
        _take(made / name / "startup", kits / kit, kind, {"host": host, "port": port})
    shutil.rmtree(folder / "made")  # with the key that certificates are signed with
    return kits


def _take(made: Path, kit: Path, kind: str, address: dict[str, str | int]) -> None:
    kit.mkdir(mode=0o700, parents=True)
    names = ("rootCA.pem", f"{kind}.crt", f"{kind}.key")
    for source, name in zip(names, CERTIFICATES, strict=True):
        write_atomic(kit / name, (made / source).read_bytes(), mode=0o600)
    write_atomic(kit / ADDRESS, json.dumps(address).encode())


def read(kit: Path) -> Kit:
    """What a kit says.

    Raises:
        ConfigError: it is none.
    """
    try:
        address = strict_json.read_object(_read(kit / ADDRESS), limit=_MOST_BYTES)
        host, port = str(address["host"]), int(address["port"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{kit} names no coordinator", _HINT) from error
    if not re.fullmatch(r"[A-Za-z0-9.-]{1,253}", host) or not 0 < port < 65_536:
        raise ConfigError(f"{kit} names no coordinator", _HINT)
    for name in CERTIFICATES:
        if not _read(kit / name).startswith(b"-----BEGIN "):
            raise ConfigError(f"{kit / name} is no certificate and no key", _HINT)
    return Kit(host, port, *(kit.absolute() / name for name in CERTIFICATES))


def copy(kit: Path, folder: Path) -> None:
    """Put the files of a kit, and nothing else in it, into a folder, and check them there.

    Raises:
        ConfigError: as `read`, or they cannot be written.
    """
    for name in (*CERTIFICATES, ADDRESS):
        write_atomic(folder / name, _read(kit / name), mode=0o600)
    read(folder)


def _read(path: Path) -> bytes:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise ConfigError(f"{path} is no file", _HINT)
            data = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path.parent} is no kit: {path.name} is missing", _HINT) from error
    if len(data) > _MOST_BYTES:
        raise ConfigError(f"{path} is too long", _HINT)
    return data


def _nvflare(*words: str) -> None:
    check_installed()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "nvflare.cli", *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CarrierError(f"FLARE refuses: {(done.stderr or done.stdout)[-500:]}")


def check_installed() -> None:
    """Raises CarrierError: FLARE is missing."""
    from importlib.util import find_spec

    if find_spec("nvflare") is None:
        raise CarrierError("NVIDIA FLARE is not installed", how_to_install("study"))
