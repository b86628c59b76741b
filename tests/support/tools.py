"""Programs and images that come from elsewhere: who brings them, and what happens without.

A test that needs one that is absent is skipped, and `tests/conftest.py` ends the run with a line for each. Where
EMBHUB_REQUIRE_TOOLS is set, as in `.ci/run`, an absent program is a failure.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

REQUIRED = bool(os.environ.get("EMBHUB_REQUIRE_TOOLS"))
BRINGS = {
    "caddy": "Debian: caddy",
    "chromium": "Debian: chromium",
    "dciodvfy": "Debian: dicom3tools",
    "docker-registry": "Debian: docker-registry",
    "git": "Debian: git",
    "exiftool": "Debian: libimage-exiftool-perl",
    "libfaketime": "Debian: libfaketime",
    "logrotate": "Debian: logrotate",
    "nft": "Debian: nftables",
    "nginx": "Debian: nginx-light",
    "openssl": "Debian: openssl",
    "postgresql": "Debian: postgresql",
    "prometheus": "Debian: prometheus",
    "skopeo": "Debian: skopeo",
    "softhsm2-util": "Debian: softhsm2",
    "ssh-agent": "Debian: openssh-client",
    "ssh-keygen": "Debian: openssh-client",
    "systemd-analyze": "Debian: systemd",
    "litewitness": ".ci/litewitness FOLDER; EMBHUB_LITEWITNESS=FOLDER",
    "tile-reader": ".ci/tile-reader FOLDER; EMBHUB_TILE_READER=FOLDER",
    "axe-core": "npm: axe-core, in the folder EMBHUB_NODE_FOLDER",
    "@huggingface/hub": "npm: @huggingface/hub, in the folder EMBHUB_NODE_FOLDER",
    "@sigstore/verify": "npm: @sigstore/verify and @sigstore/bundle, in the folder EMBHUB_NODE_FOLDER",
    "ro-crate": "npm: ro-crate, in the folder EMBHUB_NODE_FOLDER",
    "model-signing": "PyPI: model-signing and pyOpenSSL, in the environment EMBHUB_MODEL_SIGNING",
    "rocrate-validator": "PyPI: roc-validator, in the environment EMBHUB_ROCRATE_VALIDATOR",
    "HealthDCAT-AP shapes": "PyPI: dh-healthdcat; EMBHUB_HEALTHDCAT_SENSITIVE_SHAPES names its folder of shapes",
}
"""What a test may need, and who brings it. `.ci/tools` installs all of them."""

DATA = Path(os.environ.get("EMBHUB_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
"""Real images, which never enter the repository; tests that need them are skipped where they are absent."""

needs_films = pytest.mark.skipif(
    not (DATA / "chest-xray" / "index.csv").exists(), reason="real images are absent (set EMBHUB_TEST_DATA)"
)

_ABSENT = re.compile(r"(?P<what>[^()]+) (?:is not installed|are absent) \((?P<how>.+)\)")


def which(name: str) -> str | None:
    """Where a program is; servers are looked for where only root's PATH has them, too."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def reason(name: str) -> str:
    """Why a test is skipped without `name`, one of BRINGS; names who brings it."""
    return f"{name} is not installed ({BRINGS[name]})"


def needs(name: str, *, found: bool | None = None) -> pytest.MarkDecorator:
    """A mark for tests that need `name`, one of BRINGS.

    Args:
        found: whether it is there, where that is more than a program on the PATH.
    """
    is_there = which(name) is not None if found is None else found
    return pytest.mark.skipif(not is_there, reason=reason(name))


def require(name: str, *, found: bool | None = None) -> None:
    """As `needs`, for a fixture or the body of a test."""
    is_there = which(name) is not None if found is None else found
    if not is_there:
        pytest.skip(reason(name))


def is_required(why: str) -> bool:
    """Whether a skip for the reason `why` is a failure: a program is absent where all have to be there."""
    return REQUIRED and any(reason(name) in why for name in BRINGS)


def absent(reasons: Iterable[str]) -> list[str]:
    """A line for each thing that tests were skipped without: what, how many tests, who brings it."""
    counted: dict[tuple[str, str], int] = {}
    for why in reasons:
        if (match := _ABSENT.fullmatch(why.removeprefix("Skipped: "))) is not None:
            key = match["what"], match["how"]
            counted[key] = counted.get(key, 0) + 1
    return [f"absent: {what} ({how}), {count} skipped" for (what, how), count in sorted(counted.items())]
