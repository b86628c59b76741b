"""A study at a registry from its proposal to a site's yank, in this process in place of FLARE."""

from __future__ import annotations

import contextvars
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from embhub.artifact import embedding
from embhub.client.member import studies
from embhub.client.publishing.push import push
from embhub.client.pulling.pull import pull, verify_path
from embhub.diffusion.studies import joining
from embhub.diffusion.studies.flare import relay
from embhub.errors import EmbhubError, UsageError
from embhub.formats import safe_yaml
from embhub.privacy.claim import PrivacyClaim
from embhub.site import config
from tests.support.releases import make_card
from tests.support.sites import Site
from tests.support.study_joins import SITES, Act, Proposed, join, run_here, seat, write_kit


class Link:
    """A site's end of `relay`, and the cell's: a queue each way."""

    def __init__(self) -> None:
        self.asked, self.answers = queue.Queue[tuple[str, bytes]](), queue.Queue[bytes]()

    def task(self, seconds: float) -> tuple[str, bytes] | None:
        with suppress(queue.Empty):
            return self.asked.get(timeout=seconds)
        return None

    def still(self) -> AbstractContextManager[None]:
        return nullcontext()

    def answer(self, data: bytes) -> None:
        self.answers.put(data)


class InOneProcess:
    """Takes FLARE's place: sites answer in threads of this process, each with its own home."""

    def __init__(self, hospitals: Mapping[str, Site], digest: str, kits: Path) -> None:
        self.hospitals, self.digest, self.kits = hospitals, digest, kits
        for kit in (*SITES, "coordinator"):
            write_kit(kits / kit)
        self.links: dict[str, Link] = {}
        self.stopped: list[str] = []
        self.asked = 0

    @contextmanager
    def started(self, kit: Path, site: str, _log: Path) -> Iterator[Link]:
        assert kit.name == site
        self.links[site] = link = Link()
        yield link
        self.stopped.append(site)

    @contextmanager
    def listening(self, kit: Path, sites: Sequence[str]) -> Iterator[Any]:
        assert kit == self.kits / "coordinator" and set(sites) == set(SITES)
        yield self

    def wait(self, quorum: int, on_wait: Callable[[int], None]) -> None:
        assert quorum == 3
        while len(self.links) < len(SITES):
            on_wait(len(self.links))
            time.sleep(0.05)

    def ask(self, task: str, data: Mapping[str, bytes], _seconds: float) -> dict[str, bytes]:
        self.asked += 1
        answers = {}
        for site, sent in data.items():
            self.links[site].asked.put((task, sent))
            if task != "mask":  # that one waits for the end of its time; models are not loaded side by side
                answers[site] = self.links[site].answers.get(timeout=120)
        return {site: answers.get(site) or self.links[site].answers.get(timeout=120) for site in data}

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
    monkeypatch.setattr(relay, "started", engine.started)
    monkeypatch.setattr(joining, "_listening", engine.listening)
    for site in SITES[:2]:
        act_as(site)
        join(studies.fetch(digest), seat(hospitals[site], base))
    act_as("radboud")
    with pytest.raises(UsageError, match="umcu did not join yet"):
        joining.finish(digest, out, tmp_path / "kits", registry=None)
    assert not engine.links and not out.exists()
    threads = [engine.take_part(site, consented) for site in SITES[:2]]  # they wait for the third
    act_as("umcu")
    join(studies.fetch(digest), seat(hospitals["umcu"], base))
    act_as("radboud")
    threads.append(engine.take_part("umcu", consented))
    joining.finish(digest, out, tmp_path / "kits", registry=None)
    for thread in threads:
        thread.join(30)
    made = embedding.read(out)
    assert consented == dict.fromkeys(SITES, made.digest) and sorted(engine.stopped) == sorted(SITES)
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
