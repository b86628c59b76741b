"""The RO-Crate community's validator takes our crates; it is in the environment EMBHUB_ROCRATE_VALIDATOR.

It would fetch the terms of RO-Crate 1.2 from the web. The npm package `ro-crate` brings them; nothing else is fetched.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embhub.evidence.boms import ro_crate
from embhub.evidence.boms.facts import Facts
from embhub.release import verification
from embhub.release.files import Release
from tests.support import tools
from tests.support.releases import NOW, make_release, make_sheet, make_trust

HOME = Path(os.environ.get("EMBHUB_ROCRATE_VALIDATOR") or "/absent")
TERMS = Path(os.environ.get("EMBHUB_NODE_FOLDER") or "/absent") / "node_modules/ro-crate/lib/context.json"
VALIDATE = """
import json, sys
import requests
from rocrate_validator import models, services
folder, context = sys.argv[1:]
def send(session, request, **_):
    if request.url != "https://w3id.org/ro/crate/1.2/context":
        raise requests.ConnectionError(request.url)
    answer = requests.Response()
    answer.status_code, answer.url, answer.request = 200, request.url, request
    answer.headers["Content-Type"] = "application/ld+json"
    answer._content = open(context, "rb").read()
    return answer
requests.Session.send = send
settings = models.ValidationSettings(
    rocrate_uri=folder, profile_identifier="ro-crate-1.2", requirement_severity=models.Severity.REQUIRED, no_cache=True)
found = services.validate(settings)
print(json.dumps({"passed": found.passed(), "issues": [issue.message for issue in found.get_issues()]}))
"""
pytestmark = [
    pytest.mark.thorough,
    tools.needs("rocrate-validator", found=(HOME / "bin/python").exists()),
    tools.needs("ro-crate", found=TERMS.exists()),
]
NAMED: dict[str, Any] = {
    "authors": ["Jane Smith", "Department of Radiology"],
    "orcid": {"Jane Smith": "https://orcid.org/0000-0002-1825-0097"},
    "ror": "https://ror.org/05wg1m734",
    "doi": "10.5281/zenodo.1234567",
}
KINDS: dict[str, Callable[[], Release]] = {
    "plain": make_release,
    "named": lambda: make_release(sheet=make_sheet(), **NAMED),
}


def write(release: Release, folder: Path, **root: Any) -> Path:
    """The crate; `root` are members of its data set that are changed."""
    crate = ro_crate.build(Facts(verification.verify(release, trust=make_trust(), now=NOW)), release.files)
    crate["@graph"][1] |= root
    release.to_folder(folder)
    (folder / ro_crate.FILE).write_text(json.dumps(crate))
    return folder


def validate(folder: Path) -> dict[str, Any]:
    command = [str(HOME / "bin/python"), "-c", VALIDATE, str(folder), str(TERMS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.parametrize("kind", KINDS)
def test_a_crate_is_valid_at_the_required_level(kind: str, tmp_path: Path) -> None:
    assert validate(write(KINDS[kind](), tmp_path / "crate")) == {"passed": True, "issues": []}


def test_the_validator_sees_faults(tmp_path: Path) -> None:
    crate = write(make_release(), tmp_path / "crate", datePublished="yesterday")
    (crate / "audit.json").unlink()
    told = validate(crate)
    said = " ".join(told["issues"])
    assert not told["passed"] and "datePublished" in said and "audit.json" in said
