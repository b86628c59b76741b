"""The stock tool of OpenSSF model signing verifies a release with the publisher's key, and without embhub.

It is looked for in the virtual environment EMBHUB_MODEL_SIGNING: `pip install model-signing==1.1.1 pyOpenSSL`.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from embhub.release import files as release_files
from embhub.release import unpacking
from tests.support import tools
from tests.support.releases import OTHER_SITE, SITE, SigningKey, make_release, make_sheet

TOOL = Path(os.environ.get("EMBHUB_MODEL_SIGNING") or "/absent") / "bin/model_signing"
with_the_tool = tools.needs("model-signing", found=TOOL.exists())


def verify(folder: Path, *, key: SigningKey = SITE, words: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    pem = folder.with_name(f"{key.name}.pem")
    pem.write_text(key.public_pem)
    command = [str(TOOL), "verify", "key", str(folder), "--public_key", str(pem)]
    command += ["--signature", str(folder / release_files.MODEL_BUNDLE), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.thorough
@with_the_tool
def test_the_stock_tool_takes_what_was_signed_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "release"
    make_release(sheet=make_sheet()).to_folder(folder)
    done = verify(folder)
    assert done.returncode == 0 and "succeeded" in done.stdout, done.stdout + done.stderr
    assert verify(folder, key=OTHER_SITE).returncode != 0
    for name in (release_files.EMBEDDING, release_files.CARD, release_files.AUDIT, release_files.SAMPLES):
        held = (folder / name).read_bytes()
        (folder / name).write_bytes(held + b" ")
        assert verify(folder).returncode != 0, f"{name} was changed"
        (folder / name).write_bytes(held)


@pytest.mark.thorough
@with_the_tool
def test_a_pulled_folder_has_a_copy_that_no_signature_names(tmp_path: Path) -> None:
    folder = tmp_path / "pulled"
    unpacking.write(make_release(), folder, name="prostate-cspca")
    (folder / "attestations/audit.nki.sigstore.json").write_bytes(b"{}")
    assert verify(folder).returncode != 0
    done = verify(folder, words=("--ignore_unsigned_files",))
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_names_every_file_outside_attestations_by_its_digest() -> None:
    release = make_release(sheet=make_sheet())
    assert release.model_bundle is not None
    predicate = release.model_bundle.statement.predicate
    named = {row["name"]: row["digest"] for row in predicate["resources"]}
    assert named == {n: release_files.digest(d) for n, d in release.files.items() if not n.startswith("attestations/")}
    assert list(named) == sorted(named) and predicate["serialization"]["ignore_paths"] == ["attestations"]
    assert json.loads(release.files[release_files.MODEL_BUNDLE])["verificationMaterial"]["tlogEntries"] == []
