"""Train a 128-pixel base, stage by stage: `python -m bases.workshop.run builtin-xray autoencoder --work DIR`.

Stages: `autoencoder`; `denoiser`, with which the autoencoder is fixed; `decoder`, which goes on with the decoder alone;
`export`, which writes a pipeline folder. The same command goes on where it stopped. The state lies under --work, which
belongs outside the repository; `--begin FOLDER` begins from an exported folder's averaged weights where there is none.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from bases.workshop.phantom_material import of_phantoms
from bases.workshop.public_images import SETS, material
from bases.workshop.xray import default_data
from embhub.diffusion.adaptation.base_training import running, workbench
from embhub.diffusion.adaptation.base_training.material import Material
from embhub.diffusion.training.stopped import TrainingInterruptedError
from embhub.errors import EmbhubError

MATERIALS: dict[str, Callable[[Path, int], Material]] = {name: partial(material, name) for name in SETS}
MATERIALS["builtin"] = of_phantoms
STAGES = ("autoencoder", "denoiser", "decoder", "export")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run one stage; the error's exit code where it cannot."""
    chosen = _parser().parse_args(argv)
    torch.set_num_threads(1)
    limits = running.Limits(chosen.minutes, chosen.steps, chosen.patience, chosen.cool_from)
    try:
        material = MATERIALS[chosen.name](chosen.data, chosen.seed)
        bench = workbench.Workbench(material, chosen.work, chosen.seed, chosen.device, chosen.precision)
        bench.peak = chosen.peak
        if chosen.begin:
            bench.begin(chosen.begin)
        if chosen.stage == "export":
            sys.stdout.write(f"{bench.export(chosen.out or chosen.work / 'pipeline')}\n")
        else:
            sys.stdout.write(f"{_run(bench, chosen, limits)}\n")
    except TrainingInterruptedError as stopped:
        sys.stderr.write(f"{stopped}; the same command goes on from there\n")
        return 130
    except EmbhubError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


def _run(bench: workbench.Workbench, chosen: argparse.Namespace, limits: running.Limits) -> running.Progress:
    if chosen.stage == "denoiser":
        return bench.train_denoiser(limits, batch=chosen.batch or 16, compiled=chosen.compile)
    decoder_only = chosen.stage == "decoder"
    return bench.train_autoencoder(limits, batch=chosen.batch or 8, crop=chosen.crop, decoder_only=decoder_only)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bases.workshop.run", description="Train a 128-pixel base.")
    parser.add_argument("name", choices=sorted(MATERIALS))
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--work", type=Path, required=True, help="folder of states, outside the repository")
    parser.add_argument("--data", type=Path, default=default_data(), help="folder with chest-xray/ (builtin-xray only)")
    parser.add_argument("--begin", type=Path, help="exported folder to begin from where --work holds no state")
    parser.add_argument("--out", type=Path, help="export: folder to write (default: WORK/pipeline)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so many minutes")
    parser.add_argument("--steps", type=float, default=math.inf, help="stop at this step of the stage")
    parser.add_argument(
        "--peak", type=float, default=1e-3, help="the denoiser's learning rate in its first 2,000 steps"
    )
    parser.add_argument("--cool-from", type=int, help="step from which the rate falls, to nothing at --steps")
    parser.add_argument("--patience", type=int, default=20, help="measurements without a better held-out loss")
    parser.add_argument("--batch", type=int, help="images a step (default: 8, denoiser 16)")
    parser.add_argument("--crop", type=int, default=64, help="side of the squares an autoencoder sees; 0: whole images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--compile", action="store_true", help="train the denoiser through torch.compile")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
