"""A site's own FLARE machine: of the coordinator's kit it takes a certificate and an address, and nothing else.

FLARE makes whatever its files name, when it starts: components, handlers of its log. So a kit that is run as it came
could run anything at a site, before any job. The site writes these files itself.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from embhub.diffusion.studies.flare import network
from embhub.durable import write_atomic
from embhub.errors import ConfigError

CERTIFICATES: Final = ("client.crt", "client.key", "rootCA.pem")
MACHINE: Final = "embhub.diffusion.studies.flare.machine"
_MOST_BYTES = 64_000
_HINT = "ask the coordinator for this site's kit"


def adopt(given: Path, site: str, folder: Path) -> Path:
    """A machine of this site's own in `folder`, new each time, with the certificate of the kit that was handed over.

    Raises:
        ConfigError: no kit of a site, or it cannot be written.
        CarrierError: FLARE is missing, or refuses a name.
    """
    host, port = _address(given / "startup" / "fed_client.json")
    found = {name: _certificate(given / "startup" / name) for name in CERTIFICATES}
    shutil.rmtree(folder, ignore_errors=True)
    own = network.provision(folder, host, port, [site]) / site
    for name, data in found.items():
        write_atomic(own / "startup" / name, data, mode=0o600)
    return own


def start(own: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a machine that `adopt` made, as a process of its own; its log is `process.log` in its folder.

    Args:
        env: further environment, such as EMBHUB_HOME.

    Raises:
        CarrierError: FLARE is missing.
    """
    network.check_installed()
    own = own.absolute()  # FLARE goes elsewhere
    command = [sys.executable, "-u", "-m", MACHINE, "-m", str(own), "-s", "fed_client.json", "--set"]
    command += ["secure_train=true", "config_folder=config", "org=site", f"uid={own.name}"]
    with (own / "process.log").open("ab") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **(env or {})},
            start_new_session=True,
        )  # fmt: skip


def _address(path: Path) -> tuple[str, int]:
    try:
        (server,) = json.loads(_read(path))["servers"]
        host, _, port = str(server["service"]["target"]).rpartition(":")
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} names no coordinator", _HINT) from error
    if not re.fullmatch(r"[A-Za-z0-9.-]{1,253}", host) or not re.fullmatch(r"[0-9]{1,5}", port):
        raise ConfigError(f"{path} names no coordinator", _HINT)
    return host, int(port)


def _certificate(path: Path) -> bytes:
    data = _read(path)
    if not data.startswith(b"-----BEGIN "):
        raise ConfigError(f"{path} is no certificate and no key", _HINT)
    return data


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path.parent.parent} is no kit of a site: {path.name} is missing", _HINT) from error
    if len(data) > _MOST_BYTES:
        raise ConfigError(f"{path} is too long", _HINT)
    return data
