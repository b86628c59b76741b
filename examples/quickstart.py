"""From a folder of images to new pictures in a stock diffusers pipeline: train, save, load, draw.

    python examples/quickstart.py OUT_DIR [--steps N]

Phantoms stand in for a hospital's images. Two minutes on two cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import embhub
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.phantoms import write_dataset


def main() -> None:
    """Do it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, help="training steps (default: what suits the base)")
    chosen = parser.parse_args()
    out: Path = chosen.out

    manifest = write_dataset(out / "images", "prostate-cspca", images=60, patients=30, seed=0)

    result = embhub.train(
        manifest,
        token="<cspca>",
        caption="prostate mri with {}",
        base="builtin",
        recipe=embhub.Recipe(steps=chosen.steps),
        selection=embhub.Selection(holdout=0.3),
        seed=0,
        out=out / "prostate-cspca.safetensors",
        overwrite=True,
    )
    print(f"{result.embedding.digest[:12]}: {len(result.embedding.data):,} bytes")
    print(f"loss on patients kept back: {result.heldout_before:.4f} before, {result.heldout_after:.4f} after")

    pipe = load_pipeline("builtin")
    token = embhub.load_into(pipe, result.embedding)
    for number, image in enumerate(
        pipe([f"prostate mri with {token}"] * 4, num_inference_steps=20, guidance_scale=3.0).images
    ):
        image.save(out / f"{number}.png")
    print(f"four pictures in {out}")


if __name__ == "__main__":
    main()
