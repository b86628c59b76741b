"""`.ci/run` in parts: what is counted, what is red, and that nothing red ends as green."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import tools

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()


@pytest.fixture(scope="module")
def parts() -> Any:
    spec = importlib.util.spec_from_file_location("ci_parts", ROOT / ".ci/parts.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules["ci_parts"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_part_is_a_target_or_a_script(parts: Any, tmp_path: Path) -> None:
    for part in parts.PARTS:
        words = parts.command(part, tmp_path)
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", MAKEFILE, re.M), f"make {words[1]}"
        else:
            assert os.access(ROOT / words[0], os.X_OK), words[0]


def test_closing_lines_are_added_up_and_reasons_kept(parts: Any) -> None:
    outcome = parts.Outcome(code=0)
    for line in (
        "===== 5 failed, 12287 passed, 24 skipped, 3 warnings in 1000.23s (0:16:40) =====",
        "39 passed, 1 skipped in 2.99s",
        "SKIPPED [3] tests/registry/operation/test_deploy.py:75: nft is not installed (Debian: nftables)",
        "2 errors in 0.38s",
        "FAILED tests/test_words.py::test_one[a b] - assert 1 == 2",
        "FAILED to connect",
        "a test that prints 7 passed in vain",
    ):
        outcome.read(line)
    assert outcome.counts == {"passed": 12326, "skipped": 25, "failed": 7}
    assert outcome.reasons == {"nft is not installed (Debian: nftables)": 3}
    assert outcome.ending == "2 errors in 0.38s"
    assert outcome.failures == ["tests/test_words.py::test_one[a b] - assert 1 == 2"]
    assert "failed in test: tests/test_words.py::test_one[a b]" in parts.table({"test": outcome})


def test_one_red_part_makes_the_whole_red_and_the_others_run(
    parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {"test": "echo '3 passed in 0.10s'", "test-thorough": "echo '1 failed, 2 passed in 0.10s'; exit 1"}
    monkeypatch.setattr(parts, "command", lambda part, tools: ["sh", "-c", said.get(part, "true")])
    monkeypatch.setenv("EMBHUB_TOOLS", str(tmp_path))
    assert parts.main([]) == 1
    printed = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split()[1] for line in printed if re.match(r"[a-z-]+ +(green|RED) ", line)}
    assert rows == dict.fromkeys(parts.PARTS, "green") | {"test-thorough": "RED"}
    assert printed[-1] == "3 passed in 0.10s"
    assert parts.main(["check", "test"]) == 0


def test_without_setup_nothing_else_is_tried(
    parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parts, "command", lambda part, tools: ["sh", "-c", "exit 3" if part == "setup" else "true"])
    monkeypatch.setenv("EMBHUB_TOOLS", str(tmp_path))
    assert parts.main([]) == 1
    assert "check" not in capsys.readouterr().out


def test_settings_of_the_caller_reach_no_part(parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONUNBUFFERED", "PYTHONPATH", "PYTEST_ADDOPTS", "EMBHUB_HOME", "EMBHUB_TEST_DATABASE"):
        monkeypatch.setenv(name, "of the caller")
    monkeypatch.setenv("EMBHUB_TEST_DATA", str(tmp_path))
    monkeypatch.setenv("PIP_CERT", "ca.pem")
    passed = parts.environment(tmp_path)
    assert "of the caller" not in passed.values()
    assert (passed["EMBHUB_TEST_DATA"], passed["PIP_CERT"]) == (str(tmp_path), "ca.pem")


def test_an_unknown_part_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, ".ci/parts.py", "tests"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "test-thorough" in done.stderr


@pytest.mark.parametrize("name", sorted(tools.BRINGS))
def test_what_a_test_may_need_is_installed(name: str) -> None:
    package = tools.BRINGS[name].split()[1 if tools.BRINGS[name][0] != "." else 0].rstrip(";,")
    assert package in (ROOT / ".ci/tools").read_text()


def test_a_run_ends_with_what_was_absent_and_who_brings_it() -> None:
    skipped = [f"Skipped: {tools.reason('nft')}", f"Skipped: {tools.reason('nft')}", "Skipped: of one width"]
    assert tools.absent([*skipped, "real images are absent (set EMBHUB_TEST_DATA)"]) == [
        "absent: nft (Debian: nftables), 2 skipped",
        "absent: real images (set EMBHUB_TEST_DATA), 1 skipped",
    ]


def test_where_all_programs_have_to_be_there_an_absent_one_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not tools.is_required("of one width")
    monkeypatch.setattr(tools, "REQUIRED", True)
    assert tools.is_required(f"Skipped: {tools.reason('nginx')}")
    assert not tools.is_required("real images are absent (set EMBHUB_TEST_DATA)")
