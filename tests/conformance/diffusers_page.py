"""Run the Python blocks of docs/how-to/load-with-diffusers.md in a process that knows a registry as the Hub.

`python -m tests.conformance.diffusers_page FOLDER`: in FOLDER lie, under a kind's name, the repository's name and the
embedding's file. Prints for each kind how far the image is from the one by `embhub.load_into`, as JSON.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import torch

from embhub.artifact import embedding
from embhub.diffusion.drawing.loading import load_into
from tests.support import families, pipelines

PAGE = Path(__file__).parents[2] / "docs/how-to/load-with-diffusers.md"
HEADINGS = {
    "sd1": "Stable Diffusion 1 and 2", "sdxl": "Stable Diffusion XL", "flux": "FLUX.1",
    "sd3": "Stable Diffusion 3 and 3.5",
}  # fmt: skip
PROMPT = "prostate mri, <cspca>"
SIZE = {"num_inference_steps": 1, "output_type": "np", "height": pipelines.RESOLUTION, "width": pipelines.RESOLUTION}


def block(kind: str) -> str:
    """The Python of a kind's section."""
    section = PAGE.read_text().partition(f"\n## {HEADINGS[kind]}\n")[2].partition("\n## ")[0]
    (found,) = re.findall(r"```python\n(.*?)```", section, re.S)
    return str(found)


def difference(kind: str, repository: str, file: Path) -> float:
    """The largest difference of a pixel between the page's image and ours."""
    ours = families.build(kind)
    load_into(ours, embedding.parse(file.read_bytes()))
    names: dict[str, Any] = {"pipe": families.build(kind)}
    text = block(kind).replace("radboud/prostate-cspca", repository)
    call = re.compile(r"(?m)^image = pipe\((.+)\)\.images\[0\]$")
    assert call.search(text), "the section ends with a call"
    exec(call.sub(r"prompt = \1", text), names)
    assert names["prompt"] == PROMPT or kind == "sd3"
    images = []
    for pipe, prompt in ((ours, PROMPT), (names["pipe"], names["prompt"])):
        pipe.set_progress_bar_config(disable=True)
        images.append(pipe(prompt, generator=torch.Generator().manual_seed(4), **SIZE).images[0])
    return float(abs(images[0] - images[1]).max())


def main() -> None:
    """Every kind that the folder holds."""
    told = json.loads((Path(sys.argv[1]) / "kinds.json").read_text())
    found = {kind: difference(kind, name, Path(sys.argv[1]) / f"{kind}.safetensors") for kind, name in told.items()}
    pipe = families.build("sd1")
    pipe.load_textual_inversion(told["sd1"])
    added = sorted(word for word in pipe.tokenizer.get_added_vocab() if not word.startswith("<|"))
    print("FOUND " + json.dumps({"differences": found, "without a token": added}))


if __name__ == "__main__":
    main()
