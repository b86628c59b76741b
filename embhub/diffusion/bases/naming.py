"""Whether a base and a device are spelled as one, found out without loading either. Imports no torch."""

from __future__ import annotations

import re
from pathlib import Path

from embhub.artifact import embedding
from embhub.diffusion.bases.replacements import find_folder, parse_base
from embhub.errors import UsageError

_DEVICES = re.compile(
    r"(cpu|cuda|ipu|xpu|mkldnn|opengl|opencl|ideep|hip|ve|fpga|maia|xla|lazy|vulkan|mps|meta|hpu|mtia|privateuseone)"
    r"(:\d+)?"
)
"""What torch takes for a device, whether this machine has one or not."""


def check_base(base: str | Path | None, device: str | None = None) -> None:
    """Refuse a base that is neither built in, nor a folder, nor the name of a repository; and no device at all.

    A repository of the Hub is not asked for. None is the default and passes.

    Raises:
        UsageError: no such base or device.
        ConfigError: a built-in base is missing from this installation.
    """
    if device not in (None, "auto") and not _DEVICES.fullmatch(str(device)):
        raise UsageError(f"there is no device {str(device)[:40]!a}", "use --device auto, cpu, cuda or mps")
    if base is not None:
        find_folder(parse_base(str(base))[0])


def check_pair(first: str, second: str) -> None:
    """Refuse two bases, or a base and an embedding's file, of which one is not there.

    Raises:
        UsageError: no such base or file.
        ArtifactError: not an embedding.
    """
    check_base(first)
    if Path(second).suffix == ".safetensors":
        embedding.read(second)
    else:
        check_base(second)
