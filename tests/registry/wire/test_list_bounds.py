"""Lists are bounded in bytes and sent piece by piece, whatever publishers wrote and however slowly somebody reads."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi
from hypothesis import given
from hypothesis import strategies as some

from embhub_registry.database.people import accounts
from embhub_registry.database.releases import repositories, search
from embhub_registry.storage import folder
from embhub_registry.storage.folder import Registry
from embhub_registry.wire.hub_api import hf_api, json_stream, model_list
from tests.support.servers import RunningRegistry, start_registry

LARGE = {"license": "mit", "notes": "n" * 190_000, "language": ["en"]}
MANY = 700


def fill(registry: Registry, namespace: str, count: int, front: dict[str, Any], *, private: bool = False) -> None:
    """Repositories as publishers leave them who push nothing but a README.md."""
    with registry.database.writing() as db:
        accounts.add_namespace(db, namespace, now="2026-01-01T00:00:00Z")
        for number in range(count):
            made = repositories.add(db, namespace, f"r{number:04}", private=private, now="2026-01-01T00:00:00Z")
            repositories.describe(
                db, made, {"front_matter": front, "release": None}, tags=["x"], text=f"{namespace}/r{number}"
            )


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = folder.create(tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
    yield made
    made.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    running = start_registry(tmp_path_factory.mktemp("bounds"))
    with running.opened() as registry:
        fill(registry, "large", 60, LARGE)
        fill(registry, "many", MANY, {"license": "mit", "notes": "n" * 7_500})
    yield running
    running.stop()


@pytest.mark.parametrize("query", ["full=true", "cardData=true", "expand=cardData", "full=true&sort=downloads"])
def test_a_page_ends_where_it_would_be_made_from_too_much(served: RunningRegistry, query: str) -> None:
    path, names = f"/api/models?author=large&limit=1000&{query}", []
    while path:
        answer = served.get(path)
        assert answer.status == 200 and len(answer.body) < 300_000
        for row in answer.json():
            assert row["cardData"] == {"license": "mit", "language": ["en"]} and row["cardDataShortened"] is True
        names += [row["id"] for row in answer.json()]
        assert len(names) == 60 or len(answer.json()) == model_list.MAX_READ // 190_100
        link = str(answer.header("link") or "")
        path = link.partition("<")[2].partition(">")[0].removeprefix(served.url)
    assert len(names) == len(set(names)) == 60


def test_a_stock_client_sees_all_pages_as_one_list(served: RunningRegistry) -> None:
    found = list(HfApi(endpoint=served.url, token=False).list_models(full=True))
    assert len({model.id for model in found}) == len(found) == 60 + MANY


def test_a_short_list_has_a_length_and_a_head_no_rows(served: RunningRegistry) -> None:
    short = served.get("/api/models?author=many&limit=1")
    assert len(short.json()) == 1 and int(short.header("content-length") or 0) == len(short.body)
    assert served.get("/api/models?author=nobody").json() == []
    head = served.request("HEAD", "/api/models?limit=1000&full=true")
    assert head.status == 200 and head.body == b"" and "next" in str(head.header("link"))


def test_readers_who_do_not_read_hold_little_memory(served: RunningRegistry) -> None:
    """A hundred readers of five megabytes each. What threads and their connections keep is bounded, at 200 MB."""
    host, port = served.url.removeprefix("http://").split(":")
    ask = f"GET /api/models?author=many&limit=1000&full=true HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    whole = len(served.get("/api/models?author=many&limit=1000&full=true").body)
    assert whole > 5_000_000
    before = resident(served)
    with ExitStack() as lines:
        for _ in range(100):
            line = lines.enter_context(socket.socket())
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.settimeout(20)
            line.connect((host, int(port)))
            line.sendall(ask)
            assert line.recv(20).startswith(b"HTTP/1.1 200")
        assert served.get("/api/models?author=many&limit=1").status == 200
        grown = resident(served) - before
    assert grown < whole * 50, f"{grown:,} bytes for a hundred answers of {whole:,}"


def resident(served: RunningRegistry) -> int:
    assert served.process is not None
    lines = Path(f"/proc/{served.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1000 for line in lines if line.startswith("VmRSS"))


def test_rows_are_made_as_they_are_taken() -> None:
    made: list[int] = []

    def rows() -> Iterator[list[dict[str, Any]]]:
        for number in range(100):
            made.append(number)
            yield [{"n": number, "text": "x" * json_stream.PIECE_BYTES}]

    taken = json_stream.pieces(rows())
    next(taken)
    assert made == [0]
    assert [len(piece) < 2 * json_stream.PIECE_BYTES for piece in taken] == [True] * 100 and len(made) == 100


@given(some.lists(some.lists(some.dictionaries(some.text(max_size=3), some.text(max_size=40)), max_size=4), max_size=9))
def test_the_pieces_are_the_list(batches: list[list[dict[str, str]]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "PIECE_BYTES", 30)
        data = b"".join(json_stream.pieces(batches))
    assert json.loads(data) == [row for batch in batches for row in batch]


def test_what_becomes_private_while_a_list_is_sent_is_not_in_the_rest(registry: Registry) -> None:
    fill(registry, "a", 12 * model_list.BATCH, {})
    query = search.Query(limit=1000)
    page = model_list.find(registry.database.connection(), query)
    assert (len(page.ids), page.more) == (60, False)
    wanted = model_list.Wanted(files=False, card=False, expand=frozenset())
    batches = model_list.batches(registry.database.connection, query, page, wanted)
    names = [row["id"] for row in next(batches)]
    with registry.database.writing() as db:
        db.execute("UPDATE repository SET private = 1 WHERE name < 'r0030'")
    fill(registry, "b", 5, {})  # newer: they come before the first batch
    names += [row["id"] for batch in batches for row in batch]
    assert names == [f"a/r{number:04}" for number in range(59, 29, -1)]


@given(some.dictionaries(some.text(max_size=5), some.text(max_size=5000) | some.lists(some.integers()), max_size=8))
def test_front_matter_is_cut_by_whole_values(front: dict[str, Any]) -> None:
    kept, shortened = model_list.shorten(front)
    assert shortened == (kept != front)
    assert len(json.dumps(kept, ensure_ascii=False).encode()) <= model_list.MAX_CARD_DATA
    assert all(front[name] == value for name, value in kept.items())


def test_a_history_of_long_messages_goes_on_in_pages() -> None:
    line = [repositories.Revision(str(number), None, "a", "2026", "t", "é" * 2_000) for number in range(1000)]
    kept = hf_api._within(line, hf_api.MAX_HISTORY)
    assert kept == line[: hf_api.MAX_HISTORY // 4_001]
    assert hf_api._within(line[:1], 10) == line[:1], "a page has one line at least"
