"""`sacroml`, the well-kept tool of output checkers, reads the evidence pack's exports; in an environment of its own.

Without its dependencies on torch and others: its report readers need numpy, matplotlib and PyYAML alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from embhub.evidence.pack import read_report, write_pack
from tests.conformance import environments
from tests.support.packs import NOW, make_site

READER = """
import json, sys
from sacroml.attacks.attack_report_formatter import (
    FinalRecommendationModule, GenerateTextReport, LogLogROCModule, SummariseAUCPvalsModule,
    SummariseUnivariateMetricsModule)
path, room = sys.argv[1:]
report = json.load(open(path))
(key, found), = report.items()
final = FinalRecommendationModule(report); final.process_dict()
text = GenerateTextReport(); text.process_attack_target_json(path); text.export_to_file(room + "/summary.txt")
drawn = LogLogROCModule({**report, "log_id": found["log_id"], "metadata": found["metadata"]}, room).process_dict()
values = SummariseUnivariateMetricsModule(report, ["AUC"]).process_dict()[key]["AUC"]
pvalues = SummariseAUCPvalsModule(report).process_dict()
print(json.dumps({"buckets": final.get_recommendation(), "auc": float(values["mean"]), "drawn": drawn,
                  "significant": int(pvalues["n_sig_corrected"]), "total": pvalues["n_total"],
                  "summary": open(room + "/summary.txt").read()}))
"""


@pytest.fixture(scope="module")
def python() -> Path:
    home = Path(os.environ.get("EMBHUB_CLIENTS") or platformdirs.user_cache_path("embhub") / "clients")
    folder = home / f"sacroml-2-python{sys.version_info.major}.{sys.version_info.minor}"
    with environments._alone(folder.with_suffix(".lock")):
        if not (folder / "ready").exists():
            venv.create(folder, with_pip=False, symlinks=True, clear=True)
            for words in (["--no-deps", "sacroml>=2.0.1,<3"], ["numpy", "matplotlib", "pyyaml"]):
                pip = [
                    sys.executable,
                    "-m",
                    "pip",
                    "--python",
                    str(folder / "bin/python"),
                    "install",
                    "--quiet",
                    *words,
                ]
                done = subprocess.run(pip, capture_output=True, text=True, timeout=600, check=False)
                if done.returncode:
                    raise environments.CannotBuild(done.stderr)
            (folder / "ready").touch()
    return folder / "bin/python"


def read(python: Path, export: Path, room: Path) -> dict[str, Any]:
    room.mkdir(exist_ok=True)
    words = [str(python), "-c", READER, str(export), str(room)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "MPLBACKEND": "Agg"})
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.thorough
@pytest.mark.parametrize(("shift", "bucket"), [(3.0, 1), (0.0, 2)], ids=["leak", "nothing found"])
def test_an_output_checker_reads_each_attack(python: Path, tmp_path: Path, shift: float, bucket: int) -> None:
    file = make_site(tmp_path, "standard", shift=shift)
    write_pack(file, tmp_path / "pack", now=NOW)
    results = read_report(file, None)[0].attacks
    exported = {path.stem for path in (tmp_path / "pack/sacro").iterdir()}
    assert exported == {result.name for result in results if result.on_coins} and exported
    for result in results:
        if not result.on_coins:
            continue  # it has no curve
        found = read(python, tmp_path / "pack" / "sacro" / f"{result.name}.json", tmp_path / "room")
        assert found["auc"] == pytest.approx(result.auc)
        assert (found["total"], found["significant"]) == (1, int(result.p_value <= 0.05))
        assert all(result.name in text for text in found["buckets"][bucket]) and found["buckets"][bucket]
        assert result.name in found["summary"] and "[]" not in found["drawn"]
