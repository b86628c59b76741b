"""Reads C2PA manifests of anybody's files, in a process of its own; `reading` starts it.

The library is native code. A file that makes it crash, hang or fill the memory ends this process and no other. A
request is a line of JSON on standard input, the answer a line of JSON on standard output, of bounded length.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embhub.images.c2pa_manifests import library

MOST_MEMORY = 3 << 30
"""Bytes of address space."""
MOST_CODES, MOST_TEXT, MOST_EMBEDDINGS = 20, 200, 16


def main() -> None:
    """Answer requests until there are no more."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    library.load()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = read(request["path"], request["sidecar"], request["anchors"])
        except Exception as error:  # noqa: BLE001  # whatever it is, the file cannot be read
            answer = {"state": "unreadable", "why": _text(str(error))}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def read(path: str, sidecar: str | None, anchors: str) -> dict[str, Any]:
    """The validation state of a file's manifest, who signed it by its own word, and what embhub may want of it."""
    c2pa = library.load()
    context = c2pa.Context.from_dict(library.reading(anchors))
    manifest = Path(sidecar).read_bytes() if sidecar is not None else None
    with Path(path).open("rb") as file, c2pa.Reader(None, file, manifest, context=context) as reader:
        document = json.loads(reader.json())
        active = reader.get_active_manifest() or {}
    codes = [_text(one.get("code")) for one in document.get("validation_status") or []]
    return {
        "state": _text(document.get("validation_state")),
        "codes": codes[:MOST_CODES],
        "signer": _text((active.get("signature_info") or {}).get("common_name")),
        **_declared(active.get("assertions") or []),
    }


def _declared(assertions: list[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"source_type": "", "embeddings": [], "base": ""}
    for one in assertions:
        data = one.get("data")
        if not isinstance(data, dict):
            continue
        if one.get("label") == library.ASSERTION:
            found |= _generation(data)
        elif str(one.get("label")).startswith("c2pa.actions"):
            for action in data.get("actions") or []:
                if action.get("action") == "c2pa.created":
                    found["source_type"] = _text(action.get("digitalSourceType")).rpartition("/")[2]
    return found


def _generation(data: Mapping[str, Any]) -> dict[str, Any]:
    shown = [_text(one.get("sha256")) for one in data.get("embeddings") or [] if isinstance(one, dict)]
    base = data.get("base")
    digest = _text(base.get("fingerprint")) if isinstance(base, dict) else ""
    return {"embeddings": shown[:MOST_EMBEDDINGS], "base": digest}


def _text(value: object) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(letter if letter.isprintable() else " " for letter in text[:MOST_TEXT])


if __name__ == "__main__":
    main()
