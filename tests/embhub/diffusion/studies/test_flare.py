"""A study over NVIDIA FLARE: a coordinator and three sites as processes of their own on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

pytest.importorskip("nvflare")

from embhub.artifact import embedding, fingerprint
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.studies import seats
from embhub.diffusion.studies.flare import kits
from embhub.diffusion.studies.proposing import StudySettings, make_study
from embhub.diffusion.studies.seats import Seat
from embhub.ledger import studies as ledger
from embhub.phantoms import write_dataset
from embhub.privacy.claim import PrivacyClaim
from embhub.site import config
from embhub.study import consents
from embhub.study.plan import Study
from embhub.trust import p256
from tests.support import pipelines

SITES = ("north", "east-2", "south")
pytestmark = [pytest.mark.slow, pytest.mark.thorough, pytest.mark.timeout(900)]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Hospitals:
    """Homes of sites and a coordinator, all in one study of a tiny base, and their kits."""

    def __init__(
        self, path: Path, *, steps: int, sites: Sequence[str] = SITES, dropouts: int = 0, round_seconds: int = 1
    ) -> None:  # fmt: skip
        self.path, self.base, self.sites = path, pipelines.write(path / "tiny"), sites
        self.study = self._propose(steps, dropouts, round_seconds)
        self.digest = self.study.digest
        self.keys = {site: self._join(number, site) for number, site in enumerate(sites)}
        for site in (*sites, "coordinator"):
            with config.elsewhere(self.home(site)):
                seats.pin_keys(self.digest, "site" if site in sites else "coordinator", self.keys)
        self.kits = kits.provision(path / "flare", "localhost", free_port(), sites)

    def home(self, who: str) -> Path:
        return self.path / "homes" / who

    def _propose(self, steps: int, dropouts: int, round_seconds: int) -> Study:
        asked = StudySettings(
            repository="north/finding", base=fingerprint.digest(fingerprint.take(self.base)), base_name="tiny",
            caption="prostate mri, {}", token="<a>", sites=self.sites, n_public=40, epsilon=8.0, dropouts=dropouts,
            colluders=0, steps=steps, round_seconds=round_seconds,
        )  # fmt: skip
        study, frame = make_study(asked, load_pipeline(find_base(self.base), device="cpu"))
        with config.elsewhere(self.home("coordinator")):
            seats.take_chair(study, frame, base=str(self.base), device="cpu")
        return study

    def _join(self, number: int, site: str) -> p256.PublicKey:
        images = self.path / "images" / site
        write_dataset(images, "prostate-cspca", images=8, patients=5, seed=number)
        seat = Seat(site, str(images / "manifest.csv"), base=str(self.base), device="cpu", holdout=0.0)
        with config.elsewhere(self.home(site)):
            _, members, _ = seats.read_split(seat)
            ledger.charge(self.study, members.names(), pictures=members.pictures())
            return seats.take_seat(self.study, seat).public

    def launch(self, who: str) -> subprocess.Popen[bytes]:
        part, kit = ("coordinator", self.kits) if who == "coordinator" else ("site", self.kits / who)
        command = [sys.executable, "-m", "tests.support.study_machine", part, self.digest, str(kit)]
        env = {**os.environ, "EMBHUB_HOME": str(self.home(who)), "OMP_NUM_THREADS": "1"}
        with (self.path / f"{who}.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=env)

    @contextmanager
    def start(self, who: str) -> Iterator[subprocess.Popen[bytes]]:
        process = self.launch(who)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def begun(self) -> int:
        """The last number that the coordinator began."""
        return int((self.home("coordinator") / "state/studies" / self.digest / "coordinator/begun").read_text())

    def outcome(self) -> tuple[bytes, dict[str, bytes]] | None:
        with config.elsewhere(self.home("coordinator")):
            return seats.outcome(self.digest)


def check(world: Hospitals, fewest: int) -> None:
    found = world.outcome()
    assert found is not None
    file, signed = found
    claim = embedding.parse(file).privacy
    assert isinstance(claim, PrivacyClaim) and claim.study is not None and claim.study.digest == world.digest
    assert len(signed) >= fewest
    for site, signature in signed.items():
        consents.check(
            world.digest, site, embedding.parse(file).digest, signature=signature, key=world.keys[site],
        )  # fmt: skip


def test_a_study_from_kits_to_consents(tmp_path: Path) -> None:
    world = Hospitals(tmp_path, steps=5)
    with ExitStack() as stack:
        sites = [stack.enter_context(world.start(who)) for who in SITES]
        assert stack.enter_context(world.start("coordinator")).wait(600) == 0
        assert [site.wait(60) for site in sites] == [0, 0, 0], "each ends by itself once it has signed"
    check(world, len(world.sites))


def test_a_site_and_the_coordinator_are_killed_and_come_back_while_the_study_runs(tmp_path: Path) -> None:
    """The site comes back with the coordinator, which waits for all of them when it starts, for a minute."""
    world = Hospitals(tmp_path, steps=20, sites=(*SITES, "west"), dropouts=1, round_seconds=3)
    with ExitStack() as stack:
        for who in SITES:
            stack.enter_context(world.start(who))
        with world.start("west"), world.start("coordinator"):
            wait_for(world, 3)
        begun = world.begun()
        with world.start("coordinator"):
            wait_for(world, begun + 3)  # without the one that is missing
        back = stack.enter_context(world.start("west"))
        assert stack.enter_context(world.start("coordinator")).wait(600) == 0
        assert back.wait(60) == 0, "it came back within the study, and signed"
    check(world, len(world.sites))


def wait_for(world: Hospitals, number: int) -> None:
    """Until the coordinator has begun a number."""
    while world.begun() < number:
        time.sleep(0.1)
