"""Write a software bill of materials (CycloneDX) of embhub with all its extras, without the tools of development.

    python .ci/sbom.py OUT.cdx.json

`cyclonedx-py` reads this environment; what embhub does not need is then taken out. Needs the extra `release`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
EXTRAS = frozenset({"diffusion", "dicom", "nifti", "cluster", "registry"})
"""What an installation can have; not `dev`, `docs`, `release`."""


def needed(name: str, extras: frozenset[str], found: set[tuple[str, str]]) -> None:
    """Add a distribution and all that it requires in this environment to `found`."""
    for extra in ("", *sorted(extras)):
        if (plain(name), extra) in found:
            continue
        found.add((plain(name), extra))
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            return  # for another platform
        for requirement in map(Requirement, lines):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                needed(requirement.name, frozenset(requirement.extras), found)


def plain(name: str) -> str:
    """A distribution's name as PEP 503 normalises it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def prune(document: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """The document with the components of these names alone, and with the graph between them."""
    components = [part for part in document["components"] if plain(part["name"]) in names]
    root = document["metadata"]["component"]["bom-ref"]
    kept = {part["bom-ref"] for part in components} | {root}
    graph = [
        {**node, "dependsOn": [ref for ref in node.get("dependsOn", ()) if ref in kept]}
        for node in document["dependencies"]
        if node["ref"] in kept
    ]
    return {**document, "components": components, "dependencies": graph}


def main() -> int:
    """Write and validate; returns 1 where the document breaks the schema."""
    out = Path(sys.argv[1])
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", str(ROOT / "pyproject.toml")]
    command += ["--output-reproducible", "--spec-version", "1.6", "--output-format", "JSON", sys.executable]
    document = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    document["metadata"]["component"]["version"] = metadata.version("embhub")
    found: set[tuple[str, str]] = set()
    needed("embhub", EXTRAS, found)
    names = {name for name, _ in found} - {"embhub"}
    text = json.dumps(prune(document, names), indent=2, sort_keys=True) + "\n"
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    out.parent.mkdir(exist_ok=True)
    out.write_text(text)
    print(f"{out}: {len(json.loads(text)['components'])} components, CycloneDX 1.6, valid")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
