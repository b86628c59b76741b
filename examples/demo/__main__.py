"""`make demo` and `make demo-xray`: play, measure, write demo-out/index.html and demo-out/summary.json."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from bases.workshop.xray import default_data
from embhub.audits import epsilon_gauge
from embhub.audits.report import AuditReport
from embhub.privacy import wording
from examples.demo import measure, page, stage, story, tracing
from examples.demo.cast import Hospital, served
from examples.demo.scenario import FULL, SHORT, Material, Scale, Words, read_folder
from examples.demo.xray_play import WORDS as XRAY


def main() -> int:
    """Play one scenario; 0 when every step did what the story says."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--xray", metavar="DATA", help="real X-rays: the folder that holds chest-xray/index.csv")
    return stage.perform(parser, "demo-out", prepare, tell)


def prepare(out: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Draw or read the images, and play."""
    scale = SHORT if chosen.short else FULL
    folder = out / "work"
    folder.mkdir(parents=True)
    if chosen.xray is None:
        from examples.demo import phantom_play

        return play(out, phantom_play.WORDS, phantom_play.prepare(folder, scale), scale)
    from examples.demo import xray_play

    given = Path(chosen.xray).resolve() if chosen.xray else default_data()
    images = given.parent if given.name == "chest-xray" else given
    return play(out, xray_play.WORDS, xray_play.prepare(folder, images, scale), scale)


def tell(summary: dict[str, Any]) -> str:
    """What came of it, in a few lines."""
    recognised, utility = summary["recognised"], summary["utility"]
    return (
        f"recognised: {recognised['before']:.0%} before, {recognised['after']:.0%} after, of {recognised['n']}\n"
        f"classifier AUC: {utility['auc_real']:.3f} real, {utility['auc_real_plus_synthetic']:.3f} real and drawn\n"
        f"audit: {summary['audit']['verdict']} ({summary['audit']['statement']})\n"
        f"traced to their release: {summary['tracing']['by_metadata']} of {summary['tracing']['of']} by metadata,"
        f" {summary['tracing']['by_mark']} of {summary['tracing']['of_stripped']} by the mark in their noise alone\n"
        f"log: {summary['log']['entries']} entries, read and cosigned by hospital B\n"
        f"withdrawn by hospital A; at hospital B after one refresh: {summary['withdrawal']['after']}"
    )


def play(out: Path, words: Words, material: Material, scale: Scale) -> dict[str, Any]:
    """Everything from the registry's start to the page; returns what summary.json holds."""
    work = out / "work"
    (work / "site-b").mkdir()
    with served(work / "registry", work / "registry.log") as registry:
        site_a = story.settle(work / "site-a", registry)
        site_b = Hospital("hospital B", work / "site-b", registry.url)
        published = story.publish(site_a, words, material, steps=scale.train_steps, n_public=scale.n_public)
        received = story.receive(site_b, words, registry.root_fingerprint())
        refused = story.tamper(site_b, words)
        drawn = {name: read_folder(folder) for name, folder in story.draw(site_b, words, number=scale.drawn).items()}
        shipped = {}
        if words.base != XRAY.base:
            story.publish_shipped(site_a)
            folders = story.receive_shipped(site_b, number=min(12, scale.drawn))
            shipped = {name: read_folder(folder) for name, folder in folders.items()}
        traced = tracing.trace(
            site_b, release=words.repository, number=scale.marked,
            marked=words.repository if words.base == XRAY.base else story.SHIPPED.stem,
        )  # fmt: skip
        logged = tracing.watch(site_b, registry, repository=f"{story.NAMESPACE}/{words.repository}")
        withdrawn = story.withdraw(site_a, site_b, words)
    print("measuring: what the judge sees, and what a classifier gains", flush=True)
    report = AuditReport.parse(json.dumps(published["audit"]).encode())
    summary = {
        "title": words.title,
        "lead": words.lead,
        "footer": words.footer,
        "attribution": XRAY.attribution,
        "shipped_audit": AuditReport.parse(story.SHIPPED.with_suffix(".audit.json").read_bytes()).statement,
        "recognised": measure.recognise(material, drawn),
        "utility": measure.utility(material, drawn, seeds=scale.seeds, steps=scale.classifier_steps),
        "audit": published["audit"],
        "embedding": {"bytes": published["bytes"], "vectors": published["vectors"], "digest": received["digest"]},
        "verification": received,
        "tampering": refused,
        "tracing": traced,
        "log": logged,
        "withdrawal": withdrawn,
    }
    assert report.claim is not None  # of the suite `mechanism`
    summary = stage.write(
        out, "page.html", summary, {"grids": _grids(words, material, drawn), "more": _shipped(shipped)},
        samples=page.inline(Image.open(published["sheet"])),
        gauge=Markup(epsilon_gauge.draw(report.shown_epsilon, report.claim.epsilon)),  # our own SVG
        bound=wording.person("patient", report.claim.epsilon, report.claim.delta),
    )  # fmt: skip
    for name, images in drawn.items():
        page.sheet(images[:24]).save(out / f"{name}.png")
    page.sheet(material.real[:24]).save(out / "real.png")
    return summary


def _grids(words: Words, material: Material, drawn: dict[str, Any]) -> list[page.Grid]:
    prompt, without = words.caption.replace("{}", words.token), words.caption.replace("{}", "").strip(" ,")
    return [
        page.Grid("Real", "from hospital A's data set; embhub sent none of its images", material.real[:18]),
        page.Grid("Without the embedding", f"“{without}”", drawn["before"][:18]),
        page.Grid("With the embedding", f"“{prompt}”, same seeds", drawn["after"][:18]),
        page.Grid("Nearest taught words", f"“{words.generic}”, for comparison", drawn["generic"][:18]),
    ]


def _shipped(drawn: dict[str, Any]) -> list[page.Grid]:
    titles = {
        "normal": ("Normal", f"“{XRAY.normal}”"),
        "generic": ("Nearest taught words", f"“{XRAY.generic}”, same seeds"),
        "with": ("With the pulled embedding", f"“{XRAY.caption.replace('{}', XRAY.token)}”, same seeds"),
    }
    return [page.Grid(*titles[name], images) for name, images in drawn.items()]


if __name__ == "__main__":
    raise SystemExit(main())
