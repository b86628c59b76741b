"""A study at a registry from its proposal to a site's yank, in this process in place of FLARE."""

from __future__ import annotations

import contextvars
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from embhub.artifact import embedding
from embhub.client.member import studies
from embhub.client.publishing.push import push
from embhub.client.pulling.pull import pull, verify_path
from embhub.diffusion.studies import joining, seats
from embhub.diffusion.studies.flare import kits, network
from embhub.errors import EmbhubError, UsageError
from embhub.formats import safe_yaml
from embhub.privacy.claim import PrivacyClaim
from embhub.site import config
from tests.support.releases import make_card
from tests.support.sites import Site
from tests.support.study_joins import SITES, Act, Proposed, join, run_here, seat


class InOneProcess:
    """Stands in for FLARE: clients that were started answer in threads of this process, each with its own home."""

    def __init__(self, hospitals: Mapping[str, Site], digest: str, kits: Path) -> None:
        self.hospitals, self.digest, self.kits = hospitals, digest, kits
        for kit in (*SITES, "coordinator"):
            (kits / kit / "startup").mkdir(parents=True)
        self.running: set[str] = set()
        self.stopped: list[str] = []
        self.asked = 0

    def start(self, kit: Path) -> Any:
        self.running.add(kit.name)
        return SimpleNamespace(poll=lambda: None, name=kit.name)

    def stop(self, process: Any) -> None:
        self.stopped.append(process.name)

    def run_job(
        self, kits: Path, digest: str, sites: Any, *, quorum: int, seconds: float, ended: Callable[[], bool]
    ) -> str:
        assert digest == self.digest and (kits.name, quorum) == ("kits", 2) and seconds > 3600
        for _ in range(600):
            if {*sites, "coordinator"} <= self.running:
                break
            time.sleep(0.05)
        with ExitStack() as stack, ThreadPoolExecutor(3) as pool:
            contexts = {site: self._context(site) for site in sites}
            parts = {site: contexts[site].run(stack.enter_context, seats.open_site(digest)) for site in sites}

            def ask(task: str, data: Mapping[str, bytes], _seconds: float) -> dict[str, bytes]:
                assert not ended()
                self.asked += 1
                asked: dict[str, Callable[[], bytes]] = {}
                for site, sent in data.items():
                    one = pool.submit(contexts[site].run, parts[site].answer, task, sent)
                    asked[site] = one.result
                    if task != "mask":  # that one waits for the end of its time; models are not loaded side by side
                        one.result()
                return {site: result() for site, result in asked.items()}

            seats.coordinate(digest, ask)
        assert ended()
        return "FINISHED:COMPLETED"

    def _context(self, site: str) -> contextvars.Context:
        context = contextvars.copy_context()
        context.run(config._ELSEWHERE.set, str(self.hospitals[site].folder / "home"))
        return context

    def take_part(self, site: str, consented: dict[str, str]) -> threading.Thread:
        def run() -> None:
            consented[site] = joining.take_part(self.digest, self.kits / site, registry=None, look=0.05, linger=0.1)

        thread = threading.Thread(target=self._context(site).run, args=(run,), daemon=True)
        thread.start()
        return thread


def test_a_study_from_its_proposal_to_a_sites_yank(
    proposed: Proposed, hospitals: dict[str, Site], base: Path, act_as: Act, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    fetched = proposed(repository="radboud/finding")
    plan, digest = fetched.plan, fetched.plan.digest
    consented: dict[str, str] = {}
    engine, out = InOneProcess(hospitals, digest, tmp_path / "kits"), tmp_path / "finding.safetensors"
    for name in ("start", "stop", "run_job"):
        monkeypatch.setattr(network, name, getattr(engine, name))
    monkeypatch.setattr(kits, "start", engine.start)
    monkeypatch.setattr(seats, "own_kit", lambda _digest, kit: kit)
    for site in SITES[:2]:
        act_as(site)
        join(studies.fetch(digest), seat(hospitals[site], base))
    act_as("radboud")
    with pytest.raises(UsageError, match="umcu did not join yet"):
        joining.finish(digest, out, tmp_path / "kits", registry=None)
    assert not engine.running and not out.exists()
    threads = [engine.take_part(site, consented) for site in SITES[:2]]  # they wait for the third
    act_as("umcu")
    join(studies.fetch(digest), seat(hospitals["umcu"], base))
    act_as("radboud")
    threads.append(engine.take_part("umcu", consented))
    joining.finish(digest, out, tmp_path / "kits", registry=None)
    for thread in threads:
        thread.join(30)
    made = embedding.read(out)
    assert consented == dict.fromkeys(SITES, made.digest) and sorted(engine.stopped) == sorted(engine.running)
    steps, out_again = engine.asked, tmp_path / "again.safetensors"
    joining.finish(digest, out_again, tmp_path / "kits", registry=None)
    assert engine.asked == steps and out_again.read_bytes() == out.read_bytes(), "the end is reached once"

    out.with_name("finding.card.yaml").write_bytes(
        safe_yaml.dump(make_card(made, name="finding", n_patients=40, n_images=40, max_images_per_patient=8))
    )
    push(out, "radboud/finding")
    act_as("nki")
    pulled = tmp_path / "pulled"
    pull("radboud/finding", out=pulled)
    found = verify_path(pulled)
    claim = found.embedding.privacy
    assert isinstance(claim, PrivacyClaim) and claim.study is not None and claim.study.digest == digest
    assert (claim.epsilon, claim.study.epsilon_against_sites) == (plan.epsilon, plan.epsilon_against_sites)
    shutil.copytree(pulled, tmp_path / "bare")
    (tmp_path / "bare" / "study.json").unlink()
    with pytest.raises(EmbhubError):
        verify_path(tmp_path / "bare")
    for site, expected in (("nki", 5), ("umcu", 0)):
        act_as(site)
        code, said = run_here("curate", "yank", "radboud/finding", "--reason", "a patient objected")
        assert code == expected, said
    act_as("nki")
    with pytest.raises(EmbhubError, match="yank"):
        pull("radboud/finding", out=tmp_path / "later")
