"""Files of other programs, in and out, as the command line tells of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embhub import destinations as places
from embhub.client.opening import open_path
from embhub.client.overview import describe_embedding


def import_to_file(files: Sequence[Path], out: Path, **choices: Any) -> dict[str, Any]:
    """Convert a foreign embedding (see `embhub.diffusion.foreign.importing.read_foreign`) and write it."""
    places.check_file(out)
    from embhub.diffusion.foreign.importing import read_foreign

    made = read_foreign(files, out=out, **choices)
    facts = {"wrote": str(out), **describe_embedding(made.embedding)}
    return facts | {"rounding": f"numbers changed by at most {made.rounding:.2g}" if made.rounding else "none"}


def export_to_folder(file: Path, *, out: Path | None, **choices: Any) -> dict[str, Any]:
    """Verify the embedding where it is signed, and write it for another program (see
    `embhub.diffusion.foreign.exporting`)."""
    opened = open_path(file)
    from embhub.diffusion.foreign.exporting import export_file

    folder = out or Path(choices["to"])
    made = export_file(opened.embedding, folder, **choices)
    return {
        "wrote": [str(folder / name) for name in made.files],
        "prompt": made.prompt,
        "next": made.put,
        "bytes": "the same as in the embhub file"
        if made.unchanged
        else "written anew: another file than was published",
        "signature": "not exported: keep the embhub file, which it names",
        "warning": "; ".join(opened.warnings),
    }
