"""Lines of the log are what `json` writes, whoever encodes them, and hold no credential."""

from __future__ import annotations

import io
import json
import uuid
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from embhub_registry.storage import logs
from embhub_registry.wire import request_ids, request_log

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
