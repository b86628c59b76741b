"""A small net that learns to tell the site's patients apart, and looks for them in what the embedding draws."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from embhub.diffusion.attacks.evidence import BATCH, Evidence
from embhub.diffusion.attacks.nearest import draw_pictures

SIDE, WIDTH = 64, 64
STEPS, RATE, TEMPERATURE = 150, 2e-3, 0.1
NEIGHBOURS = 5
"""Other patients whose pictures say how crowded an image's surroundings are."""
_TURN, _ZOOM, _SHIFT, _CONTRAST, _NOISE = 0.17, 0.12, 0.12, 0.25, 0.05
"""Most that a picture is changed while the net learns: radians, share, share of half the side, share, grey levels."""


def score_by_reidentification(evidence: Evidence) -> Tensor:
    """Is a patient recognised in one of the drawn images, by a net that learned who is who at the site?

    The net learns from the images of both sides that two changed views of one patient belong together and those of two
    patients do not (Chen et al. 2020, arXiv 2002.05709; for chest radiographs Packhäuser et al. 2022, arXiv
    2103.08562). It sees no label of membership, so members and others are treated alike. The score is the similarity
    of the nearest drawn image, less that of the five nearest patients: some images resemble everything.

    Raises:
        ValueError: no embedding to ask, or no images.
    """
    suspect = evidence.interrogate()
    if suspect.images is None:
        raise ValueError("this attack needs the images themselves")
    device = suspect.pipe.device
    images = _shrink(suspect.images).to(device)
    units = suspect.units or tuple(str(number) for number in range(len(images)))
    net = learn(images, units, seed=suspect.seed)
    with torch.no_grad():
        known, drawn = (_embed(net, part) for part in (images, _shrink(draw_pictures(suspect)).to(device)))
    nearest = (known @ drawn.T).max(1).values
    return (nearest - _crowding(known, units)).double().cpu()


def learn(images: Tensor, units: Sequence[str], *, seed: int) -> nn.Module:
    """The net for grey images (N, 1, 64, 64) in [-1, 1]: vectors (N, 64) whose products say who looks like whom.

    Everything drawn at random comes from `seed`.
    """
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        net = _build().to(images.device)
        optimizer = torch.optim.AdamW(net.parameters(), lr=RATE)
        owners = _group(units)
        for _ in range(STEPS):
            chosen = [owners[int(number)] for number in torch.randperm(len(owners))[:BATCH]]
            pairs = torch.tensor([[own[int(torch.randint(len(own), ()))] for own in chosen] for _ in range(2)])
            views = [F.normalize(net(_change(images[pair.to(images.device)])), dim=1) for pair in pairs]
            logits = views[0] @ views[1].T / TEMPERATURE
            same = torch.arange(len(chosen), device=logits.device)
            loss = F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return net.eval()


def _build() -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in ((1, 16), (16, 32), (32, WIDTH), (WIDTH, WIDTH)):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(4, after), nn.SiLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(WIDTH * (SIDE // 16) ** 2, WIDTH))


def _change(images: Tensor) -> Tensor:
    """Turned, zoomed and shifted a little, with another contrast and some noise: each image by its own chance."""
    count = len(images)
    turn, zoom, contrast = ((torch.rand(count) * 2 - 1) * most for most in (_TURN, _ZOOM, _CONTRAST))
    cosine, sine = (1 + zoom) * turn.cos(), (1 + zoom) * turn.sin()
    shift = (torch.rand(2, count) * 2 - 1) * _SHIFT
    matrix = torch.stack([cosine, -sine, shift[0], sine, cosine, shift[1]], dim=1).view(count, 2, 3)
    grid = F.affine_grid(matrix.to(images.device), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    noise = torch.randn(images.shape) * _NOISE
    return moved * (1 + contrast).view(-1, 1, 1, 1).to(images.device) + noise.to(images.device)


def _shrink(images: Tensor) -> Tensor:
    """Grey and small, (N, 1, 64, 64)."""
    grey = images.float().mean(1, keepdim=True)
    return F.interpolate(grey, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)


def _embed(net: nn.Module, images: Tensor) -> Tensor:
    return torch.cat([F.normalize(net(batch), dim=1) for batch in torch.split(images, BATCH)])


def _crowding(known: Tensor, units: Sequence[str]) -> Tensor:
    """Mean similarity of the five nearest images of other patients, (N,)."""
    numbers = torch.tensor([list(dict.fromkeys(units)).index(unit) for unit in units], device=known.device)
    others = (known @ known.T).masked_fill(numbers[:, None] == numbers[None], -1.0)
    return others.topk(min(NEIGHBOURS, len(known)), dim=1).values.mean(1)


def _group(units: Sequence[str]) -> list[list[int]]:
    """Places of each patient's images."""
    places: dict[str, list[int]] = {}
    for place, unit in enumerate(units):
        places.setdefault(unit, []).append(place)
    return list(places.values())
