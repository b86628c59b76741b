"""Bills of materials, results for the Hub, and whole packages, written into a folder from a release that verified."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from embhub import destinations
from embhub.client.pulling import pull as pulling
from embhub.durable import write_atomic
from embhub.errors import ArtifactError, UsageError
from embhub.evidence.boms import cyclonedx, hub_results, ro_crate, spdx
from embhub.evidence.boms.facts import Facts
from embhub.formats import safe_yaml
from embhub.progress import OnProgress
from embhub.release import oci_layout
from embhub.release.verified import Verified

Format = Literal["cyclonedx", "spdx", "both"]
DEFAULT = Path("bom")
OCI = "oci:"
_NO_FIGURE = "no .eval_results: the card states no figure on a data set of the Hub"


def export_package(
    target: str,
    *,
    to: str,
    out: Path | None = None,
    overwrite: bool = False,
    registry: str | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Verify a release, and write it whole, with its attestations, in a form that others keep.

    Args:
        target: as `export_documents`.
        to: `ro-crate`, or `oci:` and a folder.
        out: folder of a crate; `ro-crate` by default.
        overwrite: replace files of the same names and other bytes.

    Returns:
        What a person is told: `wrote`, `tags` of an OCI layout, the release, and a `warning`, which may be empty.

    Raises:
        as `export_documents`.
    """
    folder = out or Path(to.removeprefix(OCI))
    destinations.check_folder(folder)
    verified, release = pulling.open_release(target, registry=registry, on_progress=on_progress)
    tags: list[str] = []
    if to.startswith(OCI):
        oci_layout.check_alone(folder)
        made, tags = oci_layout.build(release, verified)
    else:
        made = {**release.files, ro_crate.FILE: _json(ro_crate.build(Facts(verified), release.files))}
    _write(made, folder, overwrite=overwrite)
    warnings = [item.text for item in verified.findings if item.outcome == "warning"]
    return {"wrote": [str(folder)], "tags": tags, **_name(verified), "warning": "; ".join(warnings)}


def export_documents(
    target: str,
    *,
    out: Path | None = None,
    bom: Format | None = None,
    eval_results: bool = False,
    overwrite: bool = False,
    registry: str | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Verify a release, and write what was asked for; nothing is written of a release that does not verify.

    Args:
        target: a signed file, a folder as `pull` writes it, or `namespace/name`.
        out: folder; `bom` by default.
        bom: which bills of materials.
        eval_results: also the card's figures as the Hub's `.eval_results`.
        overwrite: replace documents of the same names.

    Returns:
        What a person is told: `wrote`, the release, and a `warning` of figures that the Hub's results have no place
        for; and `missing`, why a document that was asked for was not written, which may be empty.

    Raises:
        UsageError: another document of the same name is there already.
        ArtifactError: nothing that was asked for can be written.
        VerificationError, PolicyError, RegistryError: as `embhub.client.pulling.pull.verify_path`.
    """
    folder = out or DEFAULT
    destinations.check_folder(folder)
    verified = pulling.verify_path(target, registry=registry, on_progress=on_progress)
    made = dict(_documents(verified, bom, eval_results=eval_results))
    written = len(hub_results.build(Facts(verified))) if eval_results else 0
    missing = _NO_FIGURE if eval_results and not written else ""
    if not made:
        hint = "an entry of .eval_results needs a benchmark there, `owner/name`, as the data set of `evaluation`"
        raise ArtifactError(missing, hint)
    _write(made, folder, overwrite=overwrite)
    return {
        "wrote": [str(folder / name) for name in made],
        **_name(verified),
        "warning": _say_left_out(len(verified.card.evaluation) - written) if written else "",
        "missing": missing,
    }


def _name(verified: Verified) -> dict[str, str]:
    return {"release": f"{verified.repository} {verified.version}", "sha256": verified.digest}


def _say_left_out(count: int) -> str:
    figures = "1 figure is" if count == 1 else f"{count} figures are"
    said = f"{figures} on no data set of the Hub, and not in .eval_results; the model-index has all figures"
    return said if count else ""


def _write(made: Mapping[str, bytes], folder: Path, *, overwrite: bool) -> None:
    """Write files into a folder; what is there with the same bytes is as good as written."""
    changed = {name: data for name, data in made.items() if not _holds(folder / name, data)}
    there = [name for name in changed if (folder / name).exists()]
    if there and not overwrite:
        raise UsageError(f"{folder / there[0]} exists", "choose another folder with --out, or add --overwrite")
    for name, data in changed.items():
        write_atomic(folder / name, data)


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data


def _documents(verified: Verified, bom: Format | None, *, eval_results: bool) -> Iterator[tuple[str, bytes]]:
    facts = Facts(verified)
    if bom in ("cyclonedx", "both"):
        yield cyclonedx.FILE, _json(cyclonedx.build(facts))
    if bom in ("spdx", "both"):
        yield spdx.FILE, _json(spdx.build(facts))
    if eval_results and (entries := hub_results.build(facts)):
        yield f"{hub_results.FOLDER}/{verified.card.name}.yaml", safe_yaml.dump(entries)


def _json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
