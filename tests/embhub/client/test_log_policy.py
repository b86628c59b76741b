"""`embhub log policy` writes what `verify`, and every other reader of tlog-policy, reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.client.log import log_policy, logged
from tests.support import logs

UTRECHT, LEIDEN = (logs.witness_key(f"watch.{name}.example", seed).public for name, seed in (("umcu", 7), ("lumc", 8)))
LOG = logs.log_key("hub.example.org").public


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    return tmp_path / "home/config/log-policy"


def test_the_witnesses_that_a_site_names_are_its_quorum(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", "policy"]) == 0
    assert "none: no witness is asked for" in capsys.readouterr().out
    assert main(["log", "policy", "--witness", str(UTRECHT), "--witness", str(LEIDEN)]) == 0
    policy = logged.site_policy()
    assert policy.is_met_by([UTRECHT, LEIDEN]) and not policy.is_met_by([UTRECHT])
    said = capsys.readouterr().out
    assert "2 of 2" in said and str(UTRECHT) in said and str(LEIDEN) in said
    assert main(["log", "policy", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["file"] == str(file) and shown["witnesses"] == [str(UTRECHT), str(LEIDEN)]


def test_a_smaller_quorum_and_an_mldsa_key(file: Path) -> None:
    second = logs.mldsa_key("watch.umcu.example").public
    words = ["--witness", str(UTRECHT), "--witness", str(second), "--witness", str(LEIDEN)]
    assert main(["log", "policy", *words, "--quorum", "2"]) == 0
    policy = logged.site_policy()
    assert policy.is_met_by([second, LEIDEN]) and not policy.is_met_by([second])
    assert log_policy.describe()["quorum"] == "2 of 3"


def test_an_earlier_policy_is_replaced_on_demand_alone_and_keeps_its_log_keys(file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(f"log {LOG}\nquorum none\n")
    assert main(["log", "policy", "--witness", str(UTRECHT)]) == 7
    assert file.read_text() == f"log {LOG}\nquorum none\n"
    assert main(["log", "policy", "--witness", str(UTRECHT), "--replace"]) == 0
    policy = logged.site_policy()
    assert policy.logs == (LOG,) and policy.is_met_by([UTRECHT]) and not policy.is_met_by([])


def test_a_policy_that_was_written_by_hand_is_shown(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(f"witness utrecht {UTRECHT}\nquorum utrecht\n")
    assert main(["log", "policy"]) == 0
    assert "utrecht" in capsys.readouterr().out
    file.write_text("quorum nobody\n")
    assert main(["log", "policy"]) == 7


def test_a_policy_that_every_user_of_the_machine_may_write_is_not_used(file: Path) -> None:
    assert main(["log", "policy", "--witness", str(UTRECHT)]) == 0
    file.chmod(0o666)
    assert main(["log", "policy"]) == 7
    file.chmod(0o664)
    assert main(["log", "policy"]) == 0


@pytest.mark.parametrize(
    "words",
    [
        ["--witness", str(LOG)],
        ["--witness", "watch.umcu.example"],
        ["--witness", str(UTRECHT), "--witness", str(UTRECHT)],
        ["--witness", str(UTRECHT), "--quorum", "2"],
        ["--witness", str(UTRECHT), "--quorum", "0"],
        ["--witness", str(UTRECHT), "--quorum", "01"],
        ["--witness", str(UTRECHT), "--quorum", "any one"],
        ["--quorum", "1"],
        ["--replace"],
    ],
)
def test_what_makes_no_policy_is_refused_and_nothing_is_written(file: Path, words: list[str]) -> None:
    assert main(["log", "policy", *words]) == 2
    assert not file.exists()
