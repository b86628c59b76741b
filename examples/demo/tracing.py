"""After drawing: where do the images come from, and does the registry show everybody the same log?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from examples.demo.cast import Hospital, Registry
from examples.demo.xray_play import WORDS as XRAY

WITNESS = "witness.hospital-b.example"


def trace(site: Hospital, *, release: str, marked: str, number: int) -> dict[str, Any]:
    """Site B asks where images come from: those of `drawn/with` by their metadata, a few of the release in the folder
    `marked` (for the X-ray base) by the mark in their noise, once their metadata is gone."""
    told = site.embhub("research", "detect", "drawn/with", "--metadata-only", "--json").json
    prompt = XRAY.caption.replace("{}", XRAY.token)
    drawn = ["generate", prompt, "--base", XRAY.base, "--embedding", marked, "-n", str(number), "--seed", "100"]
    site.embhub(*drawn, "--out", "drawn/marked")
    stripped = site.folder / "drawn/stripped"
    _strip(site.folder / "drawn/marked", stripped)
    found = site.embhub("research", "detect", "drawn/stripped", "--json").json
    return {
        "by_metadata": _count(told, release),
        "of": told["images"],
        "by_mark": _count(found, marked),
        "of_stripped": found["images"],
    }


def watch(site: Hospital, registry: Registry, *, repository: str) -> dict[str, Any]:
    """Site B reads the registry's log, checks that it only grew, and cosigns its checkpoint as a witness that the
    operator accepted. From then on it takes `repository` only under a checkpoint that this witness cosigned."""
    command = ["log", "watch", site.registry, "--cosign", "witness.pem", "--name", WITNESS, "--json"]
    site.embhub(*command, expect=5)  # the registry does not accept this witness yet; its key is made
    key = (site.folder / "witness.pem.vkey").read_text().strip()
    registry.admin("log", "witness", key)
    said = site.embhub(*command).json
    site.embhub("log", "policy", "--witness", key)
    verified = site.embhub("verify", repository, "--require", "logged,witnessed", "--json").json
    witnessed = next(found["text"] for found in verified["findings"] if found["check"] == "log-witnesses")
    return {"log": said["log"], "entries": said["size"], "cosigned": said["cosigned"], "witnessed": witnessed}


def _count(found: dict[str, Any], release: str) -> int:
    return sum(any(_name(known) == release for known in one["releases"]) for one in found["files"])


def _name(known: dict[str, Any]) -> str:
    """`hospital-a/prostate-cspca 1.0.0` without namespace and version."""
    return str(known["repository"] or "").partition(" ")[0].rpartition("/")[2]


def _strip(folder: Path, out: Path) -> None:
    """The same pixels in files that say nothing."""
    out.mkdir(parents=True)
    for path in sorted(folder.glob("*.png")):
        with Image.open(path) as image:
            Image.frombytes(image.mode, image.size, image.tobytes()).save(out / path.name)
