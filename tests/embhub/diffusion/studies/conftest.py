"""A registry, a tiny base, and three hospitals that study together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embhub.client.member import studies
from embhub.diffusion.studies import joining
from embhub.diffusion.studies.proposing import StudySettings
from embhub.phantoms import write_dataset
from tests.support import pipelines
from tests.support.servers import RunningRegistry, start_registry
from tests.support.sites import Site, new_key, open_site
from tests.support.study_joins import SITES, Act, Proposed


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    made = start_registry(Path(tmp_path_factory.mktemp("registry")))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipelines.write(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def hospitals(registry: RunningRegistry, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Site]:
    """Each with an officer's key, a publishing key and eight images of five patients; nki is no site of a study."""
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        for number, name in enumerate((*SITES, "nki")):
            folder = tmp_path_factory.mktemp(name)
            made[name] = open_site(registry, folder, namespace=name, user=f"from-{name}").enter(patch)
            new_key(registry, namespace=name)
            new_key(registry, namespace=name, name="officer", role="approve")
            write_dataset(folder / "images", "prostate-cspca", images=8, patients=5, seed=number)
        for site in made.values():
            site.enter(patch).trust(registry)
    return made


@pytest.fixture
def act_as(hospitals: dict[str, Site], monkeypatch: pytest.MonkeyPatch) -> Act:
    return lambda name: hospitals[name].enter(monkeypatch)


@pytest.fixture
def proposed(act_as: Act, base: Path, request: pytest.FixtureRequest) -> Proposed:
    """A study of this test's own that radboud proposes; umcu acts then."""

    def propose(**changes: Any) -> studies.Fetched:
        act_as("radboud")
        name = "".join(letter for letter in request.node.name.lower() if letter.isalnum())[-60:]
        asked = StudySettings(**{
            "repository": f"radboud/{name}", "base": "", "base_name": "", "caption": "prostate mri, {}",
            "token": "<a>", "sites": SITES, "n_public": 40, "epsilon": 8.0, "dropouts": 0, "colluders": 0, "steps": 2,
            "round_seconds": 2, **changes,
        })  # fmt: skip
        made = joining.propose(asked, base=str(base), device="cpu", key=None, registry=None, ask_passphrase=None)
        act_as("umcu")
        return made

    return propose
