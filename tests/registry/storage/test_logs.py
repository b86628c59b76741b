"""Lines of the log are what `json` writes, whoever encodes them, and hold no credential."""

from __future__ import annotations

import io
import json
import re
import subprocess
import uuid
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from embhub_registry.storage import logs
from embhub_registry.wire import request_ids, request_log
from tests.support import tools

PAGE = Path(__file__).parents[3] / "docs/how-to/watch-a-registry.md"
VALUES = some.one_of(
    some.text(), some.integers(), some.booleans(), some.none(), some.floats(), some.dates(),
    some.lists(some.text(), max_size=2),
)  # fmt: skip


def written(level: str, event: str, **fields: Any) -> str:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs._OUTPUT, "file", out)
        logs.log(level, event, **fields)
    return out.getvalue()


@given(some.dictionaries(some.sampled_from(["a", "b c", "é", '"']), VALUES))
def test_a_line_is_what_json_writes(fields: dict[str, Any]) -> None:
    line = written("info", "something", **fields)
    time = json.loads(line)["time"]
    said = {name: value for name, value in fields.items() if value is not None}
    assert line == json.dumps({"time": time, "level": "info", "event": "something", **said}, default=str) + "\n"


def test_a_block_names_its_lines() -> None:
    with logs.within(id="x"):
        assert json.loads(written("info", "a", id="y", day=date(2026, 1, 1)))["id"] == "x"


class NoMetrics:
    def answered(self, *_: object, **__: object) -> None:
        pass


@given(some.text(), some.one_of(some.none(), some.text()), some.one_of(some.none(), some.text()))
def test_the_line_of_a_request_is_one(path: str, user: str | None, rule: str | None) -> None:
    out = io.StringIO()
    scope = {"method": "GET", "path": path, "client": ("192.0.2.1", 5), "state": {"user": user, "rule": rule}}
    with pytest.MonkeyPatch.context() as patch, logs.within(trace="t", id="i"):
        patch.setattr(logs._OUTPUT, "file", out)
        request_log.note(NoMetrics(), scope, status=200, started=0.0)
    line = json.loads(out.getvalue())
    expected = {"method": "GET", "path": logs.redact(path[:200]), "status": 200, "user": user, "rule": rule}
    expected |= {"client": "192.0.2.1", "id": "i", "trace": "t"}
    del line["time"], line["level"], line["event"], line["ms"]
    assert line == {name: value for name, value in expected.items() if value is not None}


def test_an_id_that_nobody_sent_is_a_random_uuid() -> None:
    made = {request_ids.choose({}) for _ in range(200)}
    assert len(made) == 200
    assert all(str(uuid.UUID(each)) == each and uuid.UUID(each).version == 4 for each in made)
    assert {uuid.UUID(each).variant for each in made} == {uuid.RFC_4122}


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """Where the log goes until the test ends."""
    logs.direct(tmp_path / "server.log")
    yield tmp_path / "server.log"
    logs._OUTPUT.file.close()  # type: ignore[union-attr]
    logs.direct(None)


def events(path: Path) -> list[str]:
    return [json.loads(line)["event"] for line in path.read_text().splitlines()]


def test_a_file_that_was_renamed_is_begun_anew(file: Path) -> None:
    logs.log("info", "before")
    old = file.rename(file.with_suffix(".1"))
    logs.log("info", "after")
    logs.log("info", "and on")
    assert events(old) == ["before"] and events(file) == ["after", "and on"]


def test_a_log_that_cannot_be_written_stops_nobody_and_goes_on(file: Path) -> None:
    away = file.parent.rename(file.parent.with_name("away"))
    logs.log("info", "lost")
    away.rename(file.parent)
    file.unlink()
    logs.log("info", "found")
    assert events(file) == ["found"]


@tools.needs("logrotate")
def test_logrotate_takes_the_snippet_of_the_page_and_loses_no_line(file: Path, tmp_path: Path) -> None:
    found = re.search(r"^(/var/log/embhub-registry/server.log \{\n.*?^\})$", PAGE.read_text(), re.M | re.S)
    assert found is not None, "the page has the snippet"
    owner = f"su {file.owner()} {file.group()}"
    snippet = found[1].replace("/var/log/embhub-registry/server.log", f'"{file}"')
    assert snippet.count("su embhub-registry embhub-registry") == 1
    rules = tmp_path / "rules"
    rules.write_text(snippet.replace("su embhub-registry embhub-registry", owner) + "\n")
    rules.chmod(0o600)
    file.chmod(0o640)
    for turn in range(3):
        logs.log("info", f"turn {turn}")
        subprocess.run(
            [str(tools.which("logrotate")), "--force", "--state", str(tmp_path / "state"), str(rules)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
    logs.log("info", "last")
    assert events(file) == ["last"] and events(tmp_path / "server.log.1") == ["turn 2"]
    unpacked = subprocess.run(
        ["gzip", "-dc", *sorted(map(str, tmp_path.glob("server.log.*.gz")))], check=True, capture_output=True, text=True
    ).stdout
    assert {json.loads(line)["event"] for line in unpacked.splitlines()} == {"turn 0", "turn 1"}
    assert file.stat().st_mode & 0o777 == 0o640
