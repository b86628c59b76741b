"""Earlier versions, kept as wheels in tests/frozen, verify and pull releases of this version."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from embhub.release import files as release_files
from embhub.release.files import Release
from embhub.trust import bundle, statement
from embhub.trust.statement import LedgerHeads, Statement
from tests.support import designs, hostile
from tests.support.releases import (
    AUDITOR,
    REPOSITORY,
    ROOT,
    STRANGER,
    make_embedding,
    make_export,
    make_sheet,
    resigned,
)

WHEELS = sorted((Path(__file__).parent / "frozen").glob("embhub-*.whl"))
PRESENT = "the present version"  # without wheels the test still runs, on the code here


def made() -> Release:
    """A release with everything that a later version may add."""
    artifact = make_embedding()
    shown = LedgerHeads(id="ab" * 32, number=2, heads=("cd" * 32, "ef" * 32))
    registered = designs.make_release(
        designs.register(artifact), artifact, sheet=make_sheet(), ledger=lambda *_: shown
    )  # fmt: skip
    release = resigned(registered, audit_key=AUDITOR)
    later = Statement(release.embedding.digest, "https://embhub.org/attestation/of-a-later-version/v1", {"x": 1})
    extra = {
        "attestations/later.sigstore.json": bundle.to_json(statement.sign(later, key=STRANGER)),
        "attestations/publish.tlog-proof": b"c2sp.org/tlog-proof@v1\n",
    }
    return Release.from_files({**release.files, **extra})


@pytest.mark.thorough
@pytest.mark.parametrize("wheel", [PRESENT, *(path.name for path in WHEELS)])
def test_an_earlier_version_reads_what_this_one_writes(wheel: str, tmp_path: Path) -> None:
    home = {name: value for name, value in os.environ.items() if not name.startswith("EMBHUB_")}
    environment = {**home, "EMBHUB_HOME": str(tmp_path / "home")}
    if wheel != PRESENT:
        zipfile.ZipFile(Path(__file__).parent / "frozen" / wheel).extractall(tmp_path / "unpacked")
        environment["PYTHONPATH"] = str(tmp_path / "unpacked")

    def run(*words: str | Path) -> str:
        command = [sys.executable, *map(str, words)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    if wheel != PRESENT:
        where = run("-c", "import embhub; print(embhub.__file__)")
        assert where.startswith(str(tmp_path / "unpacked")), "the wheel is what runs"
    with hostile.serve() as server:
        server.files, server.export = dict(made().files), make_export()
        run("-m", "embhub", "trust", "add", server.url, "--fingerprint", ROOT.fingerprint)
        run("-m", "embhub", "pull", REPOSITORY, "--registry", server.url, "--out", tmp_path / "pulled")
    said = json.loads(run("-m", "embhub", "verify", tmp_path / "pulled", "--json"))
    assert said["verified"] and said["countersigned"]
    assert any("not checked by this version" in finding["text"] for finding in said["findings"])
    assert release_files.MODEL_BUNDLE in Release.from_folder(tmp_path / "pulled").files
