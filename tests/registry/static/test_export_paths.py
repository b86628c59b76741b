"""The grammar of an export's paths is what an export writes: no path less, no path more, each with its stage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub.errors import EmbhubError
from embhub.formats.names import repository_fault
from embhub.log import tiles
from embhub.log.errors import MalformedLogError
from embhub.log.tiles import Tile
from embhub.trust import kinds
from embhub_registry.database.releases.repositories import Entry, Repository
from embhub_registry.people import names
from embhub_registry.repositories import proposal
from embhub_registry.static import export_paths, items, layout, nginx_part
from embhub_registry.static.collecting import collect
from embhub_registry.static.items import Item
from embhub_registry.static.layout import Shelf
from tests.support.quick import examples
from tests.support.servers import RunningRegistry

COMMIT, DIGEST = "0123456789" * 4, "0123456789abcdef" * 4
IN_A_COMMIT = (
    "README.md", "learned_embeds.safetensors", ".gitattributes", "samples.png", "audit.json",
    "attestations/publish.sigstore.json", "attestations/audit.umcu.sigstore.json", "attestations/publish.tlog-proof",
)  # fmt: skip
REFS = ("main", "1.0.0", "1.0+a", "a/b", "index.html", "x.php", COMMIT)


def shelf_of(namespace: str, name: str, *, ref: str = "main", commit: str = COMMIT, path: str = "README.md") -> Shelf:
    repository = Repository(0, namespace, name, False, "", "", 0, {})
    return Shelf(repository, (), "", (), {commit: [Entry(path, DIGEST, 1, COMMIT)]}, {"main": commit, ref: commit})


def fixed() -> Iterator[Item]:
    """What an export writes beside its repositories, and a log of 70,000 entries with no bytes."""
    yield layout.of_list([])[0]
    yield nginx_part.write([])
    yield items.of_bytes("README.txt", layout.README, stage=items.LISTS)
    yield from layout.of_trust(b"{}", b"{}")
    yield from (layout.of_statements(kind, DIGEST, []) for kind in kinds.LISTED.values())
    yield from layout.of_log(b"", 70_000, lambda _tile: b"")


def written() -> dict[str, Item]:
    """What the writers of an export make."""
    found = list(fixed())
    for namespace, name in (("radboud", "one"), ("a-1", "X.html"), ("0", "a_b-c.php")):
        for ref in REFS:
            found += layout.of_repository(shelf_of(namespace, name, ref=ref), lambda _digest: b"")
        for path in IN_A_COMMIT:
            found += layout.of_repository(shelf_of(namespace, name, path=path), lambda _digest: b"")
    return {item.path: item for item in found}


FIXED, WRITTEN = {item.path for item in fixed()}, written()


def test_each_path_that_an_export_writes_is_in_the_grammar_at_its_stage(hub: RunningRegistry) -> None:
    with hub.opened() as opened:
        found = collect(opened, include=["gated", "private"]).files
    assert found[-1].path == items.MANIFEST and export_paths.place_of(items.MANIFEST) is None, "it lists itself nowhere"
    for item in (*found[:-1], *WRITTEN.values()):
        place = export_paths.place_of(item.path)
        assert place is not None and place.stage == item.stage and item.size <= place.limit, item.path


def test_what_is_json_is_known_by_its_path(hub: RunningRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    made, write = set[str](), items.of_json

    def noting(path: str, value: Any, *, stage: int) -> Item:
        made.add(path)
        return write(path, value, stage=stage)

    monkeypatch.setattr(items, "of_json", noting)
    paths = set(written())
    with hub.opened() as opened:
        paths |= {item.path for item in collect(opened).files} - {items.MANIFEST}
    assert {path for path in paths if export_paths.is_json(path)} == made - {"", items.MANIFEST}


def can_be_written(path: str) -> bool:
    """Whether an export of some registry has this path, by the writers themselves and by what a registry admits."""
    match path.split("/"):
        case [namespace, name, "resolve", commit, *rest] if names.is_commit(commit):
            file = "/".join(rest)
            return proposal.limit_of(file) is not None and is_admitted(namespace, name) and is_written(
                path, shelf_of(namespace, name, commit=commit, path=file)
            )  # fmt: skip
        case ["api", "models", namespace, name, kind, *rest] if kind in ("revision", "tree"):
            ref = "/".join(rest)
            known = names.is_commit(ref) or names.is_ref(ref)
            commit = ref if names.is_commit(ref) else COMMIT
            return known and is_admitted(namespace, name) and is_written(
                path, shelf_of(namespace, name, ref=ref, commit=commit)
            )  # fmt: skip
        case ["api", "models", namespace, name, *_] | ["embhub", "v1", "status", namespace, name]:
            return is_admitted(namespace, name) and is_written(path, shelf_of(namespace, name))
        case ["embhub", "v1", ("audits" | "designs" | "evaluations" | "base-reports") as kind, digest]:
            return (
                len(digest) == 64 and set(digest) <= set("0123456789abcdef") and f"embhub/v1/{kind}/{DIGEST}" in WRITTEN
            )
        case ["log", *rest]:
            return path == "log/checkpoint" or is_a_tile("/".join(rest))
        case _:
            return path in FIXED


def is_written(path: str, shelf: Shelf) -> bool:
    return items.is_path(path) and path in {item.path for item in layout.of_repository(shelf, lambda _digest: b"")}


def is_admitted(namespace: str, name: str) -> bool:
    try:
        names.check_namespace(namespace)
    except EmbhubError:
        return False
    return repository_fault(f"{namespace}/{name}") is None


def is_a_tile(name: str) -> bool:
    try:
        tile = tiles.parse_path(name)
    except MalformedLogError:
        return False
    return tile.level is None or tile.level < tiles.HEIGHT


SHORT = sorted(path for path in WRITTEN if not path.startswith("log/tile/0/") or path.endswith(("000", "12")))
PIECES = st.sampled_from(
    [
        "/",
        ".",
        "..",
        "//",
        "x",
        "X",
        "0",
        "-",
        "_",
        "é",
        "\n",
        " ",
        "\\",
        "%2e",
        ".php",
        ".p/1",
        "~",
        "index.html",
        "a/",
    ]
)


@st.composite
def neighbours(draw: st.DrawFn) -> str:
    """A path that an export writes, changed at one or two places, or with the end of another."""
    path = draw(st.sampled_from(SHORT))
    for _ in range(draw(st.integers(1, 2))):
        first = draw(st.integers(0, len(path)))
        last = draw(st.sampled_from([first, min(first + 1, len(path)), len(path)]))
        path = path[:first] + draw(PIECES | st.just("")) + path[last:]
    if draw(st.booleans()):
        other = draw(st.sampled_from(SHORT)).split("/")
        parts = path.split("/")
        path = "/".join(parts[: draw(st.integers(0, len(parts)))] + other[draw(st.integers(0, len(other))) :])
    return path


@settings(max_examples=examples(400))
@given(neighbours())
def test_neighbours_are_in_the_grammar_only_where_an_export_can_have_them(path: str) -> None:
    assert (export_paths.place_of(path) is not None) == can_be_written(path)


@pytest.mark.parametrize(
    "path",
    [
        "", "README.txt/x", "readme.txt", "index.html", "api/models/x.exe", "api/models/radboud/index.html",
        "api/models/radboud/one/x.php", "api/models/radboud/one/commits/x",
        "api/models/radboud/one/revision/index.html/",
        "api/models/api/one/refs", "api/models/log/one/refs", "api/models/radboud/one/revision/refs/heads/x",
        "api/models/radboud/one/tree/a/../b", "embhub/v1/x.php", "embhub/v1/static.json", "embhub/v1/trust/x",
        "embhub/v1/status/radboud", "embhub/v1/status/radboud/one/x", f"embhub/v1/audits/{DIGEST}.php",
        f"embhub/v1/audits/{DIGEST.upper()}", "log/evil.exe", "log/x.php", "log/checkpoint.php", "log/tile/0/0",
        "log/tile/8/000", "log/tile/0/000.p/256", "log/tile/0/000.p/0", "log/tile/entries/x000/001", "log/checkpoint\n",
        f"radboud/one/resolve/{COMMIT}/learned_embeds.bin", f"radboud/one/resolve/{COMMIT}/x/README.md",
        f"radboud/one/resolve/{COMMIT[:-1]}/README.md", f"radboud/one.git/resolve/{COMMIT}/README.md",
        f"radboud/one/resolve/{COMMIT}/attestations/x.php", f"api/models/resolve/{COMMIT}/README.md",
        "radboud/one/resolve/main/README.md", "removed.txt", ".embhub-export/0",
    ],
)  # fmt: skip
def test_a_path_that_no_export_has(path: str) -> None:
    assert export_paths.place_of(path) is None and not can_be_written(path)


def test_every_level_of_tiles_that_an_export_writes_is_in_the_grammar() -> None:
    for level in (None, *range(tiles.HEIGHT)):
        place = export_paths.place_of(f"log/{Tile(level, 1_234_567, 17).path}")
        assert place is not None and place.stage == items.TILES
        assert place.limit == 17 * (65_537 if level is None else 32)
