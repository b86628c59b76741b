"""`make demo-study`: three hospitals train one embedding together, and a fourth pulls it.

Each hospital has phantom patients of its own, a home of its own and processes of its own. No hospital has enough
patients to learn from alone. What leaves one is masked.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bases.workshop.varied_judges import judge_for
from embhub import builtin_bases, phantoms
from embhub.artifact import embedding
from embhub.privacy.claim import PrivacyClaim
from examples.demo import page, private, stage, story
from examples.demo.cast import CommandFailed, Hospital, Registry, free_port, served
from examples.demo.phantom_play import FINDING, WORDS
from examples.demo.scenario import Pictures, read_folder, read_pictures

COORDINATOR = "consortium"
HOSPITALS = ("hospital-a", "hospital-b", "hospital-c")
REPOSITORY = f"{COORDINATOR}/{WORDS.repository}"


@dataclass(frozen=True)
class Size:
    """How much is played: `patients` at each hospital, one image each; None takes what suits the base."""

    patients: int = 110
    n_public: int = 220
    epsilon: float = 4.0
    drawn: int = 48
    steps: int | None = None
    seconds: int = 3
    judge_examples: int = 1500
    judge_steps: int = 700


FULL = Size()
SHORT = Size(patients=20, n_public=40, drawn=2, steps=3, judge_examples=40, judge_steps=4)
"""Every step in a few minutes, for the tests: its figures mean nothing."""


def main() -> int:
    """Play; 0 when every step did what the story says."""
    return stage.perform(
        argparse.ArgumentParser(prog="python -m examples.demo.study", description=__doc__),
        "demo-study-out",
        lambda out, chosen: play(out, SHORT if chosen.short else FULL),
        tell,
    )


def tell(summary: Mapping[str, Any]) -> str:
    """The two epsilons, and what the embedding adds."""
    return (
        f"epsilon {summary['epsilon']:g} for each patient, {summary['epsilon_against_sites']:g} against a hospital of"
        " the study\nrecognised: {before:.0%} before, {after:.0%} after, of {n}".format(**summary["recognised"])
    )


def play(out: Path, size: Size) -> dict[str, Any]:
    """Everything from the registry's start to the page; returns what summary.json holds."""
    work = out / "work"
    images = share_out(work / "images", size)
    with served(work / "registry", work / "registry.log") as registry:
        coordinator, *hospitals = [settle(work, registry, name) for name in (COORDINATOR, *HOSPITALS)]
        reader = Hospital("hospital-d", work / "hospital-d", registry.url)
        reader.folder.mkdir()
        study = propose(coordinator, size)
        running = [join(site, coordinator, study["study"], images[site.name]) for site in hospitals]
        file = train_together(coordinator, study["study"], running)
        story.release(coordinator, file, WORDS, REPOSITORY)
        received = story.receive(reader, WORDS, registry.root_fingerprint(), namespace=COORDINATOR)
        ledgers = {site.name: site.embhub("budget", "show", "--json").json for site in hospitals}
        drawn, real = draw(reader, size), read_pictures(images[HOSPITALS[0]])
    claim = embedding.read(file).privacy
    assert isinstance(claim, PrivacyClaim) and claim.study is not None
    summary = {
        "study": study["study"],
        "epsilon": claim.epsilon,
        "epsilon_against_sites": claim.study.epsilon_against_sites,
        "claim_words": list(claim.words()),
        "hospitals": len(HOSPITALS),
        "patients": size.patients,
        "recognised": recognise(drawn, real, size),
        "ledger": {name: [private.tell(cohort) for cohort in book["cohorts"]] for name, book in ledgers.items()},
        "verification": received,
    }
    grids = [
        page.Grid("Real", "phantom patients of hospital A; none of their images left it", real[:18]),
        page.Grid("Without the embedding", "the caption alone", drawn["before"][:18]),
        page.Grid("With the embedding", "pulled and verified at hospital D, same seeds", drawn["after"][:18]),
    ]
    return stage.write(out, "study.html", summary, {"grids": grids})


def share_out(folder: Path, size: Size) -> dict[str, Path]:
    """A manifest of each hospital: phantom patients without a common one."""
    return {
        name: phantoms.write_dataset(folder / name, FINDING, images=size.patients, patients=size.patients, seed=11 + n)
        for n, name in enumerate(HOSPITALS)
    }


def settle(work: Path, registry: Registry, name: str) -> Hospital:
    """A namespace with an account and two keys: one publishes, the officer's approves."""
    keys = {"default": "publish", "officer": "approve"}
    site = story.settle(work / name, registry, name, namespace=name, publisher=name, keys=keys)
    site.embhub("trust", "add", registry.url, "--fingerprint", registry.root_fingerprint())
    return site


def propose(site: Hospital, size: Size) -> dict[str, Any]:
    """The consortium proposes; returns the study as it was said."""
    words = ["--sites", ",".join(HOSPITALS), "--base", WORDS.base, "--token", WORDS.token, "--caption", WORDS.caption]
    words += ["--epsilon", str(size.epsilon), "--n-public", str(size.n_public), "--round-seconds", str(size.seconds)]
    words += ["--steps", str(size.steps)] if size.steps else []
    address = f"localhost:{free_port()}"
    said = site.embhub("study", "propose", REPOSITORY, *words, "--address", address, "--out", "study", "--json")
    return dict(said.json)


def join(site: Hospital, coordinator: Hospital, study: str, images: Path) -> subprocess.Popen[bytes]:
    """A hospital's officer approves, and its engine takes part until the end: a process of its own."""
    site.embhub("trust", "refresh", "--yes")  # the officers read their keys to each other by telephone
    shutil.copytree(coordinator.folder / "study/kits" / site.name, site.folder / "kit")  # by courier, in a safe
    site.embhub(
        "study", "join", study, images.parent, "--manifest", images, "--holdout", "0.2", "--key", "officer", "--yes"
    )
    return site.start("study", "join", study, "--kit", "kit")


def train_together(coordinator: Hospital, study: str, running: Sequence[subprocess.Popen[bytes]]) -> Path:
    """The coordinator runs the study; every hospital signs the file."""
    file = coordinator.folder / f"{WORDS.repository}.safetensors"
    coordinator.embhub("study", "status", study)
    try:
        coordinator.embhub("study", "finish", study, "--kits", "study/kits", "--out", file.name)
        codes = [process.wait(timeout=120) for process in running]
    finally:
        for process in running:
            process.terminate()
    if any(codes):
        raise CommandFailed(f"hospitals ended with {codes}")
    return file


def draw(site: Hospital, size: Size) -> dict[str, Pictures]:
    """The same prompt and seeds without the embedding and with it."""
    base = ["--base", WORDS.base, "-n", str(size.drawn), "--seed", "7000", "--no-mark"]
    prompt, without = WORDS.caption.replace("{}", WORDS.token), WORDS.caption.replace("{}", "").strip(" ,")
    site.embhub("generate", without, *base, "--out", "drawn/without")
    site.embhub("generate", prompt, "--embedding", WORDS.repository, *base, "--out", "drawn/with")
    return {"before": read_folder(site.folder / "drawn/without"), "after": read_folder(site.folder / "drawn/with")}


def recognise(drawn: Mapping[str, Pictures], real: Pictures, size: Size) -> dict[str, Any]:
    """Shares of images in which a classifier of other phantoms sees the finding."""
    base = builtin_bases.info(WORDS.base).path
    judge = judge_for(FINDING, base, size=size.judge_examples, steps=size.judge_steps)
    shares = {name: round(float(judge(images).target.mean()), 3) for name, images in {**drawn, "real": real}.items()}
    return {**shares, "n": size.drawn}


if __name__ == "__main__":
    raise SystemExit(main())
