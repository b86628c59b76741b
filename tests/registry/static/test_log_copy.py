"""A mirror's copy of a log tells another history from an older answer, at every size."""

from __future__ import annotations

from pathlib import Path

import pytest

from embhub.errors import RegistryError
from embhub.log.errors import ForkedLogError
from embhub.site import config
from embhub_registry.static.mirror.log_copy import LogCopy
from tests.support import logs
from tests.support.logs import MemoryLog

KEY = logs.log_key()
ENTRIES = [logs.make_leaf(number).to_bytes() for number in range(12)]


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LogCopy:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    return LogCopy(tmp_path / "log", KEY.public)


@pytest.mark.parametrize("known", [7, 8])
@pytest.mark.parametrize("shown", [3, 4, 7, 8, 12])
def test_another_history_is_a_fork_with_evidence(copy: LogCopy, known: int, shown: int) -> None:
    copy.follow(MemoryLog(ENTRIES[:known], KEY))
    with pytest.raises(ForkedLogError) as caught:
        copy.follow(MemoryLog([b"other", *ENTRIES[1:shown]], KEY))
    (evidence,) = (config.paths().state / "log-forks").iterdir()
    assert str(evidence) in caught.value.hint
    held = copy.checkpoint()
    assert held is not None and held.size == known


@pytest.mark.parametrize("shown", [3, 4])
def test_an_older_answer_is_no_fork(copy: LogCopy, shown: int) -> None:
    copy.follow(MemoryLog(ENTRIES[:8], KEY))
    with pytest.raises(RegistryError, match="an older state"):
        copy.follow(MemoryLog(ENTRIES[:shown], KEY))
    assert copy.follow(MemoryLog(ENTRIES, KEY)).size == 12
