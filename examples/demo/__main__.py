"""`make demo` and `make demo-xray`: play, measure, write demo-out/index.html and demo-out/summary.json."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch

from bases.workshop.xray import default_data
from embhub.audits.report import AuditReport
from embhub.errors import EmbhubError
from examples.demo import measure, page, story, tracing
from examples.demo.cast import CommandFailed, Hospital, import_once, served, typed
from examples.demo.scenario import FULL, SHORT, Material, Scale, Words, read_folder
from examples.demo.xray_play import WORDS as XRAY


def main() -> int:
    """Play one scenario; 0 when every step did what the story says."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo-out"))
    parser.add_argument("--xray", metavar="DATA", help="real X-rays: the folder that holds chest-xray/index.csv")
    parser.add_argument("--short", action="store_true", help="every step in a few minutes; the figures mean nothing")
    chosen = parser.parse_args()
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    try:
        scale = SHORT if chosen.short else FULL
        if chosen.short:
            import_once()
        words, material = _prepare(chosen.out, chosen.xray, scale)
        summary = play(chosen.out.resolve(), words, material, scale)
    except (CommandFailed, EmbhubError) as error:
        print(f"\nthe demo stopped: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    recognised, utility = summary["recognised"], summary["utility"]
    print(
        f"\nrecognised: {recognised['before']:.0%} before, {recognised['after']:.0%} after, of {recognised['n']}\n"
        f"classifier AUC: {utility['auc_real']:.3f} real, {utility['auc_real_plus_synthetic']:.3f} real and drawn\n"
        f"audit: {summary['audit']['verdict']} ({summary['audit']['statement']})\n"
        f"traced to their release: {summary['tracing']['by_metadata']} of {summary['tracing']['of']} by metadata,"
        f" {summary['tracing']['by_mark']} of {summary['tracing']['of_stripped']} by the mark in their noise alone\n"
        f"log: {summary['log']['entries']} entries, read and cosigned by hospital B\n"
        f"withdrawn by hospital A; at hospital B after one refresh: {summary['withdrawal']['after']}\n"
        f"all of it: {chosen.out / 'index.html'} and {chosen.out / 'summary.json'}, in {summary['seconds_total']:.0f} s"
    )
    return 0


def _prepare(out: Path, data: str | None, scale: Scale) -> tuple[Words, Material]:
    shutil.rmtree(out, ignore_errors=True)
    folder = out / "work"
    folder.mkdir(parents=True)
    if data is None:
        from examples.demo import phantom_play

        return phantom_play.WORDS, phantom_play.prepare(folder.resolve(), scale)
    from examples.demo import xray_play

    given = Path(data).resolve() if data else default_data()
    images = given.parent if given.name == "chest-xray" else given
    return xray_play.WORDS, xray_play.prepare(folder.resolve(), images, scale)


def play(out: Path, words: Words, material: Material, scale: Scale) -> dict[str, Any]:
    """Everything from the registry's start to the page; returns what summary.json holds."""
    began = time.monotonic()
    work = out / "work"
    sites = [work / "site-a", work / "site-b"]
    for folder in sites:
        folder.mkdir()
    with served(work / "registry", work / "registry.log") as registry:
        token = registry.admin("user", "add", "dr-a", "--namespace", story.NAMESPACE, "--role", "publisher", "--json")
        site_a = Hospital("hospital A", sites[0], registry.url, token.json["token"])
        site_b = Hospital("hospital B", sites[1], registry.url)
        published = story.publish(site_a, registry, words, material, steps=scale.train_steps, n_public=scale.n_public)
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
        "utility": measure.utility(material, drawn, seeds=scale.seeds),
        "audit": published["audit"],
        "embedding": {"bytes": published["bytes"], "vectors": published["vectors"], "digest": received["digest"]},
        "verification": received,
        "tampering": refused,
        "tracing": traced,
        "log": logged,
        "withdrawal": withdrawn,
        "commands": typed(),
        "seconds_total": round(time.monotonic() - began, 1),
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    page.write(
        out / "index.html", story=summary, grids=_grids(words, material, drawn), more=_shipped(shipped), report=report,
        samples=published["sheet"],
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
