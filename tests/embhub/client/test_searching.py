"""Search with facets, against the real registry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from embhub.__main__ import main
from embhub.client.wire.listings import Listing
from tests.support import releases
from tests.support.servers import RunningRegistry, running_registry
from tests.support.showroom import Showroom, code, make_claim, make_release
from tests.support.sites import Site

ALL = {"radboud/brain-wmh", "lumc/xray-pneumonia", "lumc/knee-effusion"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """A leak on MR, no audit on an X-ray, and a privacy claim."""
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        running.add_key(releases.SITE, namespace="radboud")
        running.add_key(releases.OTHER_SITE, namespace="lumc")
        alice, lea = (running.add_user(n, namespace=s) for n, s in (("alice", "radboud"), ("lea", "lumc")))
        room = Showroom(running, alice=alice, lea=lea)
        wmh: dict[str, Any] = {
            "anatomy": [code("RID6434", "brain")],
            "finding": [code("RID39063", "white matter hyperintensity")],
        }
        room.push("radboud/brain-wmh", make_release("radboud/brain-wmh", seed=5, shift=1.5, name="brain-wmh", **wmh))
        xray: dict[str, Any] = {"key": releases.OTHER_SITE, "audited": False, "modality": ["DX"], "sequence": None}
        name = "lumc/xray-pneumonia"
        room.push(name, make_release(name, seed=4, name="xray-pneumonia", publisher="Lumc", **xray))
        knee: dict[str, Any] = {"anatomy": [code("RID2743", "knee")], "claim": make_claim(), "key": releases.OTHER_SITE}
        counts: dict[str, Any] = {"n_patients": "400-500", "n_images": "400-900", "max_images_per_patient": 2}
        name = "lumc/knee-effusion"
        room.push(name, make_release(name, seed=6, name="knee-effusion", publisher="Lumc", **knee, **counts))
        yield running


@pytest.fixture
def site(registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path / "site", registry.url).enter(monkeypatch)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], ALL),
        (["--modality", "DX"], {"lumc/xray-pneumonia"}),
        (["--anatomy", "Knee"], {"lumc/knee-effusion"}),
        (["--finding", "White matter hyperintensity"], {"radboud/brain-wmh"}),
        (["--privacy", "claimed"], {"lumc/knee-effusion"}),
        (["--audit", "leak-detected"], {"radboud/brain-wmh"}),
        (["--audit", "bounded-by-claim"], {"lumc/knee-effusion"}),
        (["--audit", "not-audited", "--base", "builtin"], {"lumc/xray-pneumonia"}),
        (["--confirmation", "countersigned"], set()),
        (["brain", "--confirmation", "self-declared"], {"radboud/brain-wmh"}),
        (["--modality", "MR", "--modality", "DX"], set()),
    ],
)
def test_facets(site: Site, words: list[str], found: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", *words, "--json"]) == 0
    assert {row["repository"] for row in json.loads(capsys.readouterr().out)} == found


def test_columns_and_machine_keys(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "knee"]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["repository", "version", "date", "audit", "privacy", "base"]
    assert line.startswith("lumc/knee-effusion  1.0.0") and "epsilon" in line and line.endswith("builtin")
    assert main(["search", "knee", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["modified"].endswith("Z") and "T" in row["modified"] and datetime.fromisoformat(row["modified"])
    assert (row["version"], row["base"], row["modality"]) == ("1.0.0", "builtin", ["MR"])
    assert row["confirmation"] == "self-declared" and row["audit"] == f"{row['verdict']}, self-declared"


@pytest.mark.parametrize("said", [None, 3, [], {"version": 1, "base": ["x"], "modality": "MR", "audit": None}])
def test_a_host_that_says_something_else(said: Any) -> None:
    read = Listing.read({"id": "a/b", "embhub": said})
    assert (read.version, read.base, read.modality, read.audit) == ("", "", (), "")
