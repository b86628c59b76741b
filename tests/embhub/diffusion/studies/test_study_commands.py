"""`embhub study` with what is wrong: a word, an exit code, and nothing left behind."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.study_joins import Act, Proposed, run_here

PROPOSE = ["study", "propose", "radboud/x", "--base", "builtin", "--token", "<a>", "--epsilon", "4"]
PROPOSE += ["--n-public", "40", "--caption"]
WRONG: dict[str, tuple[list[str], int, str]] = {
    "status": (["study", "status", "xyz"], 2, "no digest of a study"),
    "join": (["study", "join", "../..", "images"], 2, "no digest of a study"),
    "withdraw": (["study", "join", "xyz", "--withdraw"], 2, "no digest of a study"),
    "finish": (["study", "finish", "A" * 64, "--kits", "k", "--out", "x.safetensors"], 2, "no digest of a study"),
    "unknown": (["study", "status", "a" * 64], 5, "there is no study"),
    "nothing to join": (["study", "join", "a" * 64], 2, "nothing to join with"),
    "address": ([*PROPOSE, "x, {}", "--sites", "a,b", "--address", "host", "--out", "kits"], 2, "no address"),
    "port": ([*PROPOSE, "x, {}", "--sites", "a,b", "--address", "h:99999", "--out", "kits"], 2, "no address"),
    "twice": ([*PROPOSE, "x, {}", "--sites", "a,a", "--address", "h:1", "--out", "kits"], 2, "a site twice"),
    "kits": ([*PROPOSE, "x, {}", "--sites", "a,b", "--address", "h:1", "--out", "."], 2, "exists"),
    "no FLARE": ([*PROPOSE, "x, {}", "--sites", "a,b", "--address", "h:1", "--out", "kits"], 7, "not installed"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_command_is_refused_in_words(
    act_as: Act, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, case: str
) -> None:
    act_as("radboud")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    words, expected, said = WRONG[case]
    code, text = run_here(*words)
    assert code == expected and said in text and "Traceback" not in text, text
    assert not list(tmp_path.iterdir())


def test_an_officer_reads_all_that_is_approved_before_anything_is_signed(proposed: Proposed) -> None:
    plan = proposed(round_seconds=7).plan
    expected = {
        "base": f"{plan.base_name}, fingerprint {plan.base[:12]}",
        "images of a patient": f"{plan.max_images_per_patient} at most",
        "noise draws for a patient in a step": str(plan.noise_draws),
        "seconds for a step": "7",
        "recipe": json.dumps(plan.recipe),
        "preprocessing": json.dumps(plan.preprocessing),
    }
    assert plan.recipe["learning_rate"] and plan.preprocessing["fit"] == "crop"
    code, joining = run_here("study", "join", plan.digest, "images")
    assert code == 2 and "nothing was signed or charged" in joining
    _, status = run_here("study", "status", plan.digest)
    for label, value in expected.items():
        assert f"{label}: {value}\n" in joining
        assert re.search(rf"^{label} +{re.escape(value)}$", status, re.MULTILINE)
