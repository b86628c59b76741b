"""Other ways than one embedding to learn a finding from a site's images, for `bench.vectors`.

A compact adapter; an embedding of which the publisher names the seeds whose images its own judge scores highest; and
embeddings of three clusters of the site's images, each of which generates its share. The publisher's judge is the
published network, taught with the site's images and with normals that the base generates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.cluster.vq import kmeans2

from bases.workshop.counting import Pictures
from bases.workshop.generated import PLAIN
from bench import worth_material as material
from embhub.diffusion.evaluation import fitting, pretrained
from embhub.diffusion.evaluation.cells import Labelled
from embhub.diffusion.evaluation.regimes import Lesson, balance
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import adapter_fit
from embhub.options.adapter import AdapterRecipe, TargetModules

RANK, DRAWN_PER_KEPT, CLUSTERS = 4, 3, 3


@dataclass(frozen=True)
class Site:
    """What a site has: its images with the finding, as pixels and as latents, a base, and normals that it generates."""

    pipe: Pipeline
    one: material.Modality
    images: Pictures
    latents: torch.Tensor
    normals: Pictures
    choices: fitting.Choices


def adapt(modules: TargetModules) -> Callable[[Site, int, int], Pictures]:
    """Images with an adapter, which is taken out of the base again."""

    def generate(site: Site, seed: int, count: int) -> Pictures:
        pipe, text = site.pipe, f"{site.one.prompt}, {material.TOKEN}"
        side = site.latents.shape[-1] * pipe.vae_scale_factor
        recipe = adapter_fit.settle(AdapterRecipe(rank=RANK, target_modules=modules), side, pipe.device.type)
        adapter_fit.learn(pipe, site.latents, text, recipe, seed)
        try:
            return material.generate_words(pipe, site.one, text, PLAIN, seed, count)
        finally:
            adapter_fit.remove(pipe.unet)

    return generate


def pick_by_a_judge(site: Site, seed: int, count: int) -> Pictures:
    """The images of an embedding that the publisher's own judge scores highest, of three times as many."""
    rows = material.learn(site.pipe, site.one, site.latents, seed)
    drawn = material.generate_learned(site.pipe, site.one, rows, seed, DRAWN_PER_KEPT * count)
    labels = np.repeat([0, 1], [len(site.normals), len(site.images)])
    names = tuple(map(str, range(len(labels))))
    taught = Labelled(np.concatenate([site.normals, site.images]), labels, names)
    chances = balance(labels, np.ones(len(labels), bool), None)
    judge = fitting.fit([Lesson(taught, 0, chances=chances)], site.choices, seed=0)
    best = np.argsort(-fitting.score(judge, drawn, site.choices), kind="stable")[:count]
    return drawn[np.sort(best)]


def learn_by_cluster(site: Site, seed: int, count: int) -> Pictures:
    """Images of an embedding for each cluster of the site's images in the network's features, in their shares."""
    features = pretrained.network(site.choices.device)(site.images).cpu().numpy().astype(np.float64)
    whitened = (features - features.mean(0)) / (features.std(0) + 1e-6)
    _, cluster = kmeans2(whitened, CLUSTERS, minit="++", seed=seed)
    sizes = np.bincount(cluster, minlength=CLUSTERS)
    ends = np.round(np.cumsum(sizes) / len(cluster) * count).astype(int)
    parts = []
    for number, share in enumerate(np.diff(ends, prepend=0)):
        if share:
            rows = material.learn(site.pipe, site.one, site.latents[torch.from_numpy(cluster == number)], seed)
            parts.append(material.generate_learned(site.pipe, site.one, rows, seed + 100 * number, int(share)))
    return np.concatenate(parts)


WAYS: Mapping[str, Callable[[Site, int, int], Pictures]] = {
    "adapter of keys and values, rank 4": adapt("cross-attention-kv"),
    "adapter of all attention, rank 4": adapt("attention"),
    "embedding, the third that a judge picks": pick_by_a_judge,
    "embeddings of three clusters": learn_by_cluster,
}
