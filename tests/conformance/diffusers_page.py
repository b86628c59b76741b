"""Run the Python blocks of docs/how-to/load-with-diffusers.md in a process that knows a registry as the Hub.

`python -m tests.conformance.diffusers_page FOLDER`: in FOLDER, `told.json` has the repository's name by kind of base,
and the fingerprint of the registry's root key. Prints for each kind how far the image of the calls for diffusers alone
is from the one of the three lines with embhub, as JSON.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import torch

import embhub
from tests.support import families, pipelines

PAGE = Path(__file__).parents[2] / "docs/how-to/load-with-diffusers.md"
HEADINGS = {
    "sd1": "Stable Diffusion 1 and 2", "sdxl": "Stable Diffusion XL and FLUX.1",
    "flux": "Stable Diffusion XL and FLUX.1", "sd3": "Stable Diffusion 3 and 3.5",
}  # fmt: skip
PROMPT = "prostate mri, <cspca>"
SIZE = {"num_inference_steps": 1, "output_type": "np", "height": pipelines.RESOLUTION, "width": pipelines.RESOLUTION}
CALL = re.compile(r"(?m)^image = pipe\((.+)\)\.images\[0\]$")


def block(section: str) -> str:
    """The Python of a section of the page."""
    (found,) = re.findall(r"```python\n(.*?)```", section, re.S)
    assert CALL.search(found), "the section ends with a call"
    return str(found)


def play(text: str, kind: str, repository: str) -> tuple[str, Any]:
    """The prompt and the image of these lines."""
    names: dict[str, Any] = {"pipe": families.build(kind), "embhub": embhub}
    exec(CALL.sub(r"prompt = \1", text.replace("radboud/prostate-cspca", repository)), names)
    pipe, prompt = names["pipe"], names["prompt"]
    pipe.set_progress_bar_config(disable=True)
    return prompt, pipe(prompt, generator=torch.Generator().manual_seed(4), **SIZE).images[0]


def difference(kind: str, repository: str) -> float:
    """The largest difference of a pixel between the image by embhub and the one without."""
    introduction, *_ = PAGE.read_text().split("\n## ")
    section = PAGE.read_text().partition(f"\n## {HEADINGS[kind]}\n")[2].partition("\n## ")[0]
    (said, ours), (prompt, theirs) = (play(block(part), kind, repository) for part in (introduction, section))
    assert said == PROMPT and (prompt == PROMPT or kind == "sd3")
    return float(abs(ours - theirs).max())


def main() -> None:
    """Every kind that the folder names."""
    os.chdir(sys.argv[1])
    told = json.loads(Path("told.json").read_text())
    embhub.trust_registry(os.environ["HF_ENDPOINT"], fingerprint=told["fingerprint"])
    found = {kind: difference(kind, name) for kind, name in told["kinds"].items()}
    pipe = families.build("sd1")
    pipe.load_textual_inversion(told["kinds"]["sd1"])
    added = sorted(word for word in pipe.tokenizer.get_added_vocab() if not word.startswith("<|"))
    print("FOUND " + json.dumps({"differences": found, "without a token": added}))


if __name__ == "__main__":
    main()
