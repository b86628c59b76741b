"""A study over NVIDIA FLARE: a server and three clients as processes of their own on this machine."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("nvflare")

from embhub.artifact import embedding, fingerprint
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.studies import seats
from embhub.diffusion.studies.flare import kits, network
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
pytestmark = [pytest.mark.slow, pytest.mark.thorough, pytest.mark.timeout(400)]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Hospitals:
    """Homes of three sites and a coordinator, all in one study of a tiny base, and their kits."""

    def __init__(self, path: Path, *, steps: int, dropouts: int = 1) -> None:
        self.path, self.base = path, pipelines.write(path / "tiny")
        self.study = self._propose(steps, dropouts)
        self.digest = self.study.digest
        self.keys = {site: self._join(number, site) for number, site in enumerate(SITES)}
        for site in (*SITES, "coordinator"):
            with config.elsewhere(self.home(site)):
                seats.pin_keys(self.digest, "site" if site in SITES else "coordinator", self.keys)
        self.kits = network.provision(path / "flare", "localhost", free_port(), SITES)

    def home(self, who: str) -> Path:
        return self.path / "homes" / who

    def _propose(self, steps: int, dropouts: int) -> Study:
        asked = StudySettings(
            repository="north/finding", base=fingerprint.digest(fingerprint.take(self.base)), base_name="tiny",
            caption="prostate mri, {}", token="<a>", sites=SITES, n_public=40, epsilon=8.0, dropouts=dropouts,
            colluders=0, steps=steps, round_seconds=1,
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
            ledger.charge(self.study, members.names())
            return seats.take_seat(self.study, replace(seat, members=seats.name_members(members))).public

    def env(self, who: str) -> dict[str, str]:
        return {"EMBHUB_HOME": str(self.home(who)), "OMP_NUM_THREADS": "1"}

    def launch(self, who: str) -> subprocess.Popen[bytes]:
        """A machine, that of a site as the site makes it of its kit."""
        if who == "coordinator":
            return network.start(self.kits / who, self.env(who))
        return kits.start(kits.adopt(self.kits / who, who, self.path / "own" / who), self.env(who))

    @contextmanager
    def start(self, who: str) -> Iterator[subprocess.Popen[bytes]]:
        process = self.launch(who)
        try:
            yield process
        finally:
            network.stop(process)

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
        for who in ("coordinator", *SITES):
            stack.enter_context(world.start(who))
        status = network.run_job(world.kits, world.digest, SITES, quorum=2, seconds=120)
    assert "COMPLETED" in status
    check(world, 3)


def name_another_class(job: Path) -> None:
    """One that comes with FLARE, and that its default policy lets any job name."""
    path = job / "site" / "config" / "config_fed_client.json"
    config = json.loads(path.read_bytes())
    config["executors"][0]["executor"] = {"path": "nvflare.app_common.np.np_trainer.NPTrainer", "args": {}}
    path.write_text(json.dumps(config))


def bring_code(job: Path) -> None:
    path = job / "site" / "config" / "config_fed_client.json"
    config = json.loads(path.read_bytes())
    config["executors"][0]["executor"] = {"path": "brought.Brought", "args": {}}
    path.write_text(json.dumps(config))
    (job / "site" / "custom").mkdir()
    (job / "site" / "custom" / "brought.py").write_text(
        "import pathlib\npathlib.Path(__file__).with_name('ran').write_text('')\nclass Brought: pass\n"
    )


@pytest.mark.parametrize(
    ("change", "word"), [(name_another_class, "is not in allow_list"), (bring_code, "BYOC not permitted")]
)
def test_a_job_that_names_another_class_or_brings_code_runs_at_no_site(
    tmp_path: Path, change: Callable[[Path], None], word: str
) -> None:
    world = Hospitals(tmp_path, steps=2)
    job = network._write_job(world.kits / "job", world.digest, SITES, 2)
    change(job)
    with ExitStack() as stack:
        for who in ("coordinator", *SITES):
            stack.enter_context(world.start(who))
        with suppress(network.CarrierError):
            assert "COMPLETED" not in network._submit(world.kits, job, 3, 2, 60)
    assert world.outcome() is None
    assert not list(world.path.rglob("ran"))
    machines = [world.kits / "coordinator", *(world.path / "own" / site / "kits" / site for site in SITES)]
    logs = "".join((machine / "process.log").read_text() for machine in machines)
    assert word in logs


def test_a_site_is_killed_and_comes_back_and_the_coordinator_is_killed_and_goes_on(tmp_path: Path) -> None:
    world = Hospitals(tmp_path, steps=16)
    with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        for who in SITES[:2]:
            stack.enter_context(world.start(who))
        third = world.launch(SITES[2])
        coordinator = network.start(world.kits / "coordinator", world.env("coordinator"))
        first = pool.submit(network.run_job, world.kits, world.digest, SITES, quorum=2, seconds=30)
        wait_for(world, 3)
        network.stop(third)
        wait_for(world, 6)
        network.stop(coordinator)
        with pytest.raises(network.CarrierError):
            first.result()
        stack.enter_context(world.start(SITES[2]))
        stack.enter_context(world.start("coordinator"))
        status = network.run_job(world.kits, world.digest, SITES, quorum=2, seconds=200)
    assert "COMPLETED" in status
    check(world, 3)


def wait_for(world: Hospitals, number: int) -> None:
    """Until the coordinator has begun a number."""
    begun = world.home("coordinator") / "state" / "studies" / world.digest / "coordinator" / "begun"
    while int(begun.read_text()) < number:
        time.sleep(0.1)
