"""An embedding that can tell little about any one patient: train privately, read the claim, see what was spent.

    python examples/train_dp.py OUT_DIR [--epsilon E] [--steps N]

Phantoms stand in for a hospital's images. A minute on two cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import embhub
from embhub.phantoms import write_dataset
from embhub.privacy.claim import PrivacyClaim


def main() -> None:
    """Do it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epsilon", type=float, default=4.0)
    parser.add_argument("--steps", type=int, help="training steps (default: what suits the base)")
    chosen = parser.parse_args()
    out: Path = chosen.out

    manifest = write_dataset(out / "images", "prostate-cspca", images=80, patients=60, seed=0)

    result = embhub.train(
        manifest,
        token="<cspca>",
        caption="prostate mri with {}",
        base="builtin",
        recipe=embhub.Recipe(steps=chosen.steps),
        privacy=embhub.PrivacySettings(
            epsilon=chosen.epsilon,
            n_public=50,  # declared and published; the exact number, 60, is not
        ),
        out=out / "prostate-cspca.safetensors",
        overwrite=True,
        on_note=print,
    )
    claim = result.embedding.privacy
    assert isinstance(claim, PrivacyClaim)
    print("\n".join(claim.words()))


if __name__ == "__main__":
    main()
