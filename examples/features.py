"""Features for `embhub evaluate --features features:NAME`; weights are read from the working folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

CLIP, RESNET, XRAY = Path("clip-vit-base-patch32"), Path("resnet18.pth"), Path("xray-densenet121.pt")


def resize(images: torch.Tensor, side: int) -> torch.Tensor:
    """Images of another side."""
    return F.interpolate(images, side, mode="bicubic", antialias=True)


class Normalized(nn.Module):
    """A network of colour images of one side, each channel less its mean over its standard deviation."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, network: nn.Module, side: int, mean: list[float], deviation: list[float]) -> None:
        super().__init__()
        self.network, self.side = network, side
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features of images in [-1, 1]."""
        found = self.network((resize(images, self.side) / 2 + 0.5 - self.mean) / self.deviation)
        return found if isinstance(found, torch.Tensor) else found.image_embeds


def clip() -> nn.Module:
    """CLIP (Radford et al. 2021): the embedding of an image."""
    from transformers import CLIPVisionModelWithProjection

    network, loading = CLIPVisionModelWithProjection.from_pretrained(
        CLIP.resolve(strict=True), local_files_only=True, dtype=torch.float32, output_loading_info=True
    )
    if loading["missing_keys"]:  # they would stay at random values
        raise ValueError(f"{CLIP} lacks {len(loading['missing_keys'])} weights of a CLIP vision model")
    side = network.config.image_size
    return Normalized(network, side, [0.4815, 0.4578, 0.4082], [0.2686, 0.2613, 0.2758])


def resnet() -> nn.Module:
    """ResNet-18 of torchvision (He et al. 2015): what goes into its last layer."""
    from torchvision.models import resnet18

    network = resnet18(weights=None)
    network.load_state_dict(torch.load(RESNET, map_location="cpu", weights_only=True))
    network.fc = nn.Identity()
    return Normalized(network, 224, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


class XRay(nn.Module):
    """DenseNet-121 of torchxrayvision (Cohen et al. 2022): grey images in [-1024, 1024]."""

    def __init__(self) -> None:
        from torchxrayvision.models import DenseNet

        super().__init__()
        self.features = DenseNet(weights=None).features
        self.features.load_state_dict(torch.load(XRAY, map_location="cpu", weights_only=True))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features of images in [-1, 1]."""
        maps = self.features(resize(images.mean(1, keepdim=True), 224) * 1024)
        return F.adaptive_avg_pool2d(F.relu(maps), 1).flatten(1)


def small() -> Callable[[torch.Tensor], torch.Tensor]:
    """A function of your own: grey values of 8 x 8 places."""
    return lambda images: F.adaptive_avg_pool2d(images.mean(1, keepdim=True), 8).flatten(1)
