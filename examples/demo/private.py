"""`make demo-private`: a private training beside a plain one, with what it spent, both audits and the pictures.

One hospital, two groups of phantom patients. The plain embedding learns from the one, the private embedding from the
other: patients of a plain training have no bound left that a private one could promise.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from embhub import phantoms
from embhub.artifact import embedding
from embhub.audits import roc_figure
from embhub.audits.report import AuditReport
from embhub.privacy.claim import PrivacyClaim
from examples.demo import page, stage, story
from examples.demo.cast import Hospital, served
from examples.demo.phantom_play import FINDING, WORDS
from examples.demo.scenario import read_folder

PLAIN, PRIVATE = "plain", "private"


@dataclass(frozen=True)
class Size:
    """How much is played: `patients` a group, with one image each; None takes what suits the base."""

    patients: int = 130
    n_public: int = 50
    epsilon: float = 4.0
    shadows: int = 8
    drawn: int = 18
    steps: int | None = None


FULL = Size()
SHORT = Size(patients=40, n_public=10, shadows=4, drawn=2, steps=3)
"""Every step in a minute or two, for the tests: its figures mean nothing."""


def main() -> int:
    """Play; 0 when every step did what the story says."""
    return stage.perform(
        argparse.ArgumentParser(prog="python -m examples.demo.private", description=__doc__),
        "demo-private-out",
        lambda out, chosen: play(out, SHORT if chosen.short else FULL),
        lambda summary: "\n".join(f"{name}: {summary['audits'][name]['statement']}" for name in (PLAIN, PRIVATE)),
    )


def play(out: Path, size: Size) -> dict[str, Any]:
    """Everything from the registry's start to the page; returns what summary.json holds."""
    work = out / "work"
    (work / "site-b").mkdir(parents=True)
    with served(work / "registry", work / "registry.log") as registry:
        site_a = story.settle(work / "site-a", registry)
        site_b = Hospital("hospital B", work / "site-b", registry.url)
        groups = share_out(work / "images", size)
        trained = {name: train(site_a, groups[name], name, size) for name in (PLAIN, PRIVATE)}
        audits = {name: attack(site_a, trained[name], size) for name in trained}
        mechanism = site_a.embhub("audit", trained[PRIVATE].name, "--suite", "mechanism", "--json").json
        budget = site_a.embhub("budget", "show", "--json").json
        story.release(site_a, trained[PRIVATE], WORDS)
        received = story.receive(site_b, WORDS, registry.root_fingerprint())
        pictures = draw(site_a, site_b, trained[PLAIN], size)
    claim = embedding.read(trained[PRIVATE]).privacy
    assert isinstance(claim, PrivacyClaim)
    summary = {
        "epsilon": claim.epsilon,
        "claim": claim.to_dict(),
        "claim_words": list(claim.words()),
        "audits": {name: brief(report) for name, report in audits.items()},
        "mechanism": brief(AuditReport.parse(json.dumps(mechanism).encode())),
        "budget": budget,
        "ledger": [tell(cohort) for cohort in budget["cohorts"]],
        "verification": received,
    }
    curves = {
        name: Markup(roc_figure.draw(one.attacks, one.deciding.attack)) for name, one in audits.items()
    }  # our SVG
    return stage.write(out, "private.html", summary, {"grids": pictures}, curves=curves)


def share_out(folder: Path, size: Size) -> dict[str, Path]:
    """Phantom patients in two groups without a common one: a manifest each, in one folder of images."""
    number = 2 * size.patients
    manifest = phantoms.write_dataset(folder, FINDING, images=number, patients=number, seed=11)
    head, *rows = manifest.read_text(encoding="utf-8").splitlines()
    groups = {PLAIN: rows[: size.patients], PRIVATE: rows[size.patients :]}
    paths = {name: folder / f"{name}.csv" for name in groups}
    for name, path in paths.items():
        path.write_text("\n".join([head, *groups[name]]) + "\n", encoding="utf-8")
    return paths


def train(site: Hospital, manifest: Path, name: str, size: Size) -> Path:
    """One group of patients, one training; the private one is the one to be published."""
    file = site.folder / (f"{WORDS.repository}.safetensors" if name == PRIVATE else "plain.safetensors")
    words = ["--holdout", "0.3", "--base", WORDS.base, "--token", WORDS.token, "--caption", WORDS.caption]
    words += ["--epsilon", str(size.epsilon), "--n-public", str(size.n_public)] if name == PRIVATE else ["--seed", "1"]
    words += ["--steps", str(size.steps)] if size.steps else []
    site.embhub("train", manifest.parent, "--manifest", manifest, *words, "--out", file.name)
    return file


def attack(site: Hospital, file: Path, size: Size) -> AuditReport:
    """The standard audit, which stays at the site for the private one."""
    report = f"{file.stem}.standard.json"
    site.embhub("audit", file.name, "--suite", "standard", "--shadows", str(size.shadows), "--workers", "2",
                "--out", report)  # fmt: skip
    return AuditReport.parse((site.folder / report).read_bytes())


def draw(site_a: Hospital, site_b: Hospital, plain: Path, size: Size) -> list[page.Grid]:
    """The same prompt and seeds three times: without, with the plain and with the pulled private embedding."""
    base = ["--base", WORDS.base, "-n", str(size.drawn), "--seed", "7000"]
    prompt, without = WORDS.caption.replace("{}", WORDS.token), WORDS.caption.replace("{}", "").strip(" ,")
    site_a.embhub("generate", without, *base, "--out", "drawn/without")
    site_a.embhub("generate", prompt, "--embedding", plain.name, *base, "--out", "drawn/plain")
    site_b.embhub("generate", prompt, "--embedding", WORDS.repository, *base, "--out", "drawn/private")
    return [
        page.Grid("Without an embedding", f"“{without}”", read_folder(site_a.folder / "drawn/without")),
        page.Grid("Plain", "nothing bounds what it tells; it stayed at hospital A",
                  read_folder(site_a.folder / "drawn/plain")),
        page.Grid(f"Private, epsilon {size.epsilon:g}", "pulled, verified and drawn at hospital B, same seeds",
                  read_folder(site_b.folder / "drawn/private")),
    ]  # fmt: skip


def tell(cohort: dict[str, Any]) -> dict[str, str]:
    """A row of the ledger for a person."""
    spent = cohort["epsilon"]
    return {
        "patients": f"{cohort['units']} {cohort['unit']}s",
        "trainings": str(len(cohort["runs"])),
        "spent": "without bound: a training without privacy" if spent is None else f"epsilon {spent}",
    }


def brief(report: AuditReport) -> dict[str, Any]:
    """What a table says of an audit."""
    deciding = report.deciding_result
    return {
        "suite": report.suite,
        "verdict": report.verdict,
        "statement": report.statement,
        "attack": deciding.name,
        "auc": deciding.auc,
        "interval": list(deciding.auc_interval),
        "coins": report.coins.model_dump() if report.coins else None,
    }


if __name__ == "__main__":
    raise SystemExit(main())
