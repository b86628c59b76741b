"""`python -m bench.vectors`: how many vectors, and how many images? What an embedding generates, over a grid of both.

Embeddings of 1 to 64 vectors, as far as the base's prompts have room, learn from 2 to 100 of hospital A's images of the
finding, all by one recipe; fewer images are among the more. Each generates `GENERATED` images. They are compared with
test patients in the features of the published network: FD, KID and the share that it calls the finding. The probe is
the AUC, on test patients, of a ridge regression on those features that was taught with the generated images and the
base's normals alone. Other rows are for comparison: the prompt without an embedding, hospital A's real images, and
`bench.other_ways` to learn from the most images. Modalities are those of bench/worth.json. A row is kept as it ends, so
the study can be left and gone on with.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bases.workshop.counting import Pictures, tensor
from bases.workshop.gating import share
from bases.workshop.generated import NORMAL
from bases.workshop.xray import default_data
from bench import marked, other_ways, worth
from bench import worth_material as material
from bench.results_file import ResultsFile, Row
from embhub.builtin_bases import resolve
from embhub.diffusion.bases.pipelines import choose_device, load_pipeline
from embhub.diffusion.evaluation import classifier, fidelity, fitting, pretrained
from embhub.diffusion.evaluation.cells import Labelled, of_class
from embhub.diffusion.evaluation.networks import find
from embhub.diffusion.evaluation.regimes import Lesson, balance
from embhub.diffusion.families import encoders, room
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import inversion
from embhub.errors import UsageError

RESULTS = Path(__file__).parent / "results" / "vectors.json"
PAGE = Path(__file__).parents[1] / "docs/explanation/vectors-and-images.md"
VECTORS, IMAGES, SEEDS, GENERATED = (1, 4, 16, 32, 64), (2, 10, 30, 100), 2, 96
WORDS, REAL = "the prompt without an embedding", "real images"


class Measured:
    """Test patients, the published network and the base's normals of one seed, with which all rows are compared."""

    def __init__(self, pool: Labelled, test: Labelled, normals: Pictures) -> None:
        self._test, self._positive, self._normals = test, of_class(test, 1).images, normals
        self.choices = fitting.Choices(find("pretrained"), worth.SIDE, mirror=False, device=str(choose_device()))
        chances = balance(pool.labels, np.ones(len(pool), bool), None)
        self._judge = fitting.fit([Lesson(pool, 0, chances=chances)], self.choices, seed=0)
        self._space = fidelity.Features(pretrained.network(self.choices.device), pool.images)

    def row(self, images: Pictures) -> Row:
        """The figures of images that are meant to show the finding."""
        alike = fidelity.compare(self._space, {"": images}, self._positive)[""]
        called = fitting.score(self._judge, images, self.choices) > 0.5
        labels = np.repeat(np.array([0, 1]), [len(self._normals), len(images)])
        lesson = Labelled(np.concatenate([self._normals, images]), labels, tuple(map(str, range(len(labels)))))
        chances = balance(labels, np.ones(len(labels), bool), None)
        probe = fitting.fit([Lesson(lesson, 0, chances=chances)], self.choices, seed=0)
        area = classifier.area_under_curve(
            self._test.labels == 1, fitting.score(probe, self._test.images, self.choices)
        )
        return {
            "generated": len(images), "compared": alike.images, "called": share(called.tolist()),
            "fd": round(alike.fd, 2), "kid": round(alike.kid, 3), "probe_auc": round(area, 3),
        }  # fmt: skip


def measure(data: Path, one: material.Modality, pipe: Pipeline, seed: int, done: set[tuple[Any, ...]]) -> Iterator[Row]:
    """The rows of one modality and seed that are not there yet."""
    known, room_for = material.site(data, one), fitting_vectors(pipe, one)
    order = np.random.default_rng(seed).permutation(len(known))
    normals = material.generate_words(pipe, one, f"{one.prompt}, normal", NORMAL, seed, GENERATED)
    measured = Measured(material.real(data, one, "judge"), material.real(data, one, "test"), normals)
    cells = [(WORDS, 0, 0), (REAL, 0, min(GENERATED, len(known)))]
    cells += [(name, 0, min(max(IMAGES), len(known))) for name in other_ways.WAYS]
    cells += [("embedding", vectors, images) for images in IMAGES for vectors in room_for]
    for name, vectors, images in cells:
        if (one.source, name, vectors, images, seed) in done:
            continue
        began = time.process_time()
        if name == WORDS:
            pictures = material.generate_words(pipe, one, one.prompt, name, seed, GENERATED)
        elif name == REAL:
            pictures = known.images[np.sort(order[:GENERATED])]
        else:
            latents = inversion.encode_images(pipe, tensor(known.images[np.sort(order[:images])]))
        if name in other_ways.WAYS:
            mine = known.images[np.sort(order[:images])]
            site = other_ways.Site(pipe, one, mine, latents, normals, measured.choices)
            pictures = other_ways.WAYS[name](site, seed, GENERATED)
        elif name == "embedding":
            sized = replace(one, num_vectors=vectors)
            pictures = material.generate_learned(pipe, one, material.learn(pipe, sized, latents, seed), seed, GENERATED)
        about = {"modality": one.source, "images of": name, "vectors": vectors, "images": images, "seed": seed}
        yield {**about, **measured.row(pictures), "cpu_seconds": round(time.process_time() - began)}


def fitting_vectors(pipe: Pipeline, one: material.Modality) -> list[int]:
    """Numbers of vectors for which a prompt of this modality has room."""
    encoder = encoders(pipe)[0]
    words = len(encoder.tokenizer(f"{one.prompt}, ").input_ids)
    return [vectors for vectors in VECTORS if words + vectors <= room(pipe, encoder)]


def table(rows: Sequence[Row]) -> str:
    """A line for each modality, number of images and number of vectors; figures of each seed."""
    lines = [
        "| modality | images of | learned from | vectors | called the finding | FD | KID | probe's AUC |",
        "|---|---|---|---|---|---|---|---|",
    ]
    keys = dict.fromkeys((row["modality"], row["images of"], row["images"], row["vectors"]) for row in rows)
    for key in sorted(keys, key=lambda key: (key[0], key[1] == "embedding", *key[1:])):
        mine = [row for row in rows if (row["modality"], row["images of"], row["images"], row["vectors"]) == key]
        figures = [", ".join(f"{row['called']['share']:.0%}" for row in mine)]
        figures += [", ".join(f"{row[name]:.{digits}f}" for row in mine) for name, digits in _FIGURES]
        about = [key[0], key[1], str(key[2] or "-"), str(key[3] or "-")]
        lines.append(f"| {' | '.join([*about, *figures])} |")
    return "\n".join(lines) + "\n"


_FIGURES = (("fd", 0), ("kid", 2), ("probe_auc", 2))


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the cells that are not there yet, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.vectors", description=__doc__)
    parser.add_argument("--data", type=Path, default=default_data(), help="folder of the public images")
    parser.add_argument("--base", action="append", default=[], metavar="SET=FOLDER", help="a base that is not shipped")
    parser.add_argument("--only", nargs="+", metavar="FOLDER", default=["chest-xray"], help="these folders of images")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(SEEDS))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="write the table into docs, from --results, and stop")
    asked = parser.parse_args(argv)
    results = ResultsFile(asked.results)
    if asked.write:
        PAGE.write_text(marked.put(PAGE.read_text(), table(results.rows)))
        return
    torch.set_num_threads(asked.threads)
    bases = dict(line.split("=", 1) for line in asked.base)
    for one in worth.modalities():
        if one.source not in asked.only:
            continue
        base = Path(bases[one.set]) if one.set in bases else resolve(one.set)
        if base is None:
            raise UsageError(f"no base of {one.set} is shipped", f"make one, and pass --base {one.set}=FOLDER")
        pipe = load_pipeline(base)
        for seed in asked.seeds:
            done = {
                (row["modality"], row["images of"], row["vectors"], row["images"], row["seed"]) for row in results.rows
            }
            for row in measure(asked.data, one, pipe, seed, done):
                results.keep(row)
                print(f"done: {row}", flush=True)
    print(table(results.rows))


if __name__ == "__main__":
    main()
