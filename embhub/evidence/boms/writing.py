"""Bills of materials and results for the Hub, written into a folder from a release that verified."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from embhub import destinations
from embhub.client.pulling import pull as pulling
from embhub.durable import write_atomic
from embhub.errors import UsageError
from embhub.evidence.boms import cyclonedx, hub_results, spdx
from embhub.evidence.boms.facts import Facts
from embhub.formats import safe_yaml
from embhub.progress import OnProgress
from embhub.release.verified import Verified

Format = Literal["cyclonedx", "spdx", "both"]
DEFAULT = Path("bom")


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
        What a person is told: `wrote`, the release, and `left out`, figures that the Hub's results have no place for.

    Raises:
        UsageError: a document is there already, or the card has no figure that belongs in `.eval_results`.
        VerificationError, PolicyError, RegistryError: as `embhub.client.pulling.pull.verify_path`.
    """
    folder = out or DEFAULT
    destinations.check_folder(folder)
    verified = pulling.verify_path(target, registry=registry, on_progress=on_progress)
    made = dict(_documents(verified, bom, eval_results=eval_results))
    there = [name for name in made if (folder / name).exists()]
    if there and not overwrite:
        raise UsageError(f"{folder / there[0]} exists", "choose another folder with --out, or add --overwrite")
    for name, data in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / name, data)
    left_out = len(verified.card.evaluation) - len(hub_results.build(Facts(verified))) if eval_results else 0
    return {
        "wrote": [str(folder / name) for name in made],
        "release": f"{verified.repository} {verified.version}",
        "sha256": verified.digest,
        "left_out": left_out,
    }


def _documents(verified: Verified, bom: Format | None, *, eval_results: bool) -> Iterator[tuple[str, bytes]]:
    facts = Facts(verified)
    if bom in ("cyclonedx", "both"):
        yield cyclonedx.FILE, _json(cyclonedx.build(facts))
    if bom in ("spdx", "both"):
        yield spdx.FILE, _json(spdx.build(facts))
    if eval_results:
        entries = hub_results.build(facts)
        if not entries:
            raise UsageError(
                "the card states no figure on a data set of the Hub",
                "an entry of .eval_results needs a benchmark there, `owner/name`, as the data set of `evaluation`",
            )
        yield f"{hub_results.FOLDER}/{verified.card.name}.yaml", safe_yaml.dump(entries)


def _json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
