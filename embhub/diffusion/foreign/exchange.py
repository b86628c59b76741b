"""Files of other programs, in and out, as the command line tells of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embhub import destinations
from embhub.client.pulling.opening import open_path
from embhub.client.pulling.overview import describe_embedding
from embhub.client.pulling.pull import open_target
from embhub.diffusion.foreign import asking
from embhub.progress import OnProgress, say_loading


def import_to_file(
    files: Sequence[Path], out: Path, *, token: str, overwrite: bool = False, on_progress: OnProgress | None = None,
    **choices: Any,
) -> dict[str, Any]:  # fmt: skip
    """Convert a foreign embedding (see `embhub.diffusion.foreign.importing.read_foreign`) and write it."""
    destinations.check_file(out)
    destinations.check_embedding(out, overwrite=overwrite)
    asking.check(
        files, token=token, family=choices.get("base_family"), base=choices.get("base"), out=out, overwrite=overwrite
    )
    say_loading(on_progress)
    from embhub.diffusion.foreign.importing import read_foreign

    made = read_foreign(files, token=token, out=out, overwrite=overwrite, **choices)
    facts = {"wrote": str(out), **describe_embedding(made.embedding)}
    return facts | {"rounding": made.rounding}


def export_to_folder(
    target: str,
    *,
    out: Path | None,
    registry: str | None = None,
    on_progress: OnProgress | None = None,
    **choices: Any,
) -> dict[str, Any]:
    """Verify the embedding where it is signed, and write it for another program (see
    `embhub.diffusion.foreign.exporting`). A repository is pulled and verified first."""
    folder = out or Path(choices["to"])
    destinations.check_folder(folder)
    opened = open_path(target) if Path(target).exists() else open_target(target, registry)
    say_loading(on_progress)
    from embhub.diffusion.foreign.exporting import export_file

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
