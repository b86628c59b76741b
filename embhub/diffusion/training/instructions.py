"""Which instructions for bfloat16 a processor has: read from its flags, never measured. So one seed gives one file.

Without them bfloat16 is emulated: a step then takes about twice as long as in float32. oneDNN, which computes torch's
products on a processor, uses AVX-512 BF16 and AMX on x86 and FEAT_BF16 on ARM. Both oneDNN and torch can be told by
environment variables to leave instructions out. Nothing here imports torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")

_NAMES = {
    "avx512_bf16": "AVX-512 BF16",
    "amx_bf16": "AMX BF16",
    "bf16": "ARM BF16",
}
_ONEDNN = "ONEDNN_MAX_CPU_ISA"
_ATEN = "ATEN_CPU_CAPABILITY"

_AVX512_BF16 = {"AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX10_1_512"}
_EVERYTHING = {"ALL", "DEFAULT", "AVX512_CORE_AMX", "AVX512_CORE_AMX_FP16", "AVX10_1_512_AMX", "AVX10_1_512_AMX_FP16"}
"""Values of ONEDNN_MAX_CPU_ISA that allow AVX-512 BF16, and those that allow AMX as well. What is not listed is older,
or a later one that this version does not know: those from AVX10.2 on include AMX."""

_NARROW = {"default", "avx2"}
"""Values of ATEN_CPU_CAPABILITY without AVX-512."""


def bfloat16_instructions(cpuinfo: str | None = None, environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Names of the instructions for bfloat16 that torch may use on this processor, such as `AVX-512 BF16`.

    Args:
        cpuinfo: the text of /proc/cpuinfo; that of this machine by default. Where there is none, there are none.
        environment: environment variables; those of this process by default.

    Returns:
        The names, in a fixed order; empty where bfloat16 would be emulated.
    """
    flags = _flags(_read() if cpuinfo is None else cpuinfo)
    allowed = _allowed(os.environ if environment is None else environment)
    return tuple(name for flag, name in _NAMES.items() if flag in flags and flag in allowed)


def _read() -> str:
    try:
        return CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _flags(cpuinfo: str) -> set[str]:
    """Flags that every processor of the machine has: `flags` on x86, `Features` on ARM."""
    lists = [
        set(value.lower().split())
        for name, colon, value in (line.partition(":") for line in cpuinfo.splitlines())
        if colon and name.strip().lower() in ("flags", "features")
    ]
    return set.intersection(*lists) if lists else set()


def _allowed(environment: Mapping[str, str]) -> set[str]:
    """The flags that the environment leaves to torch."""
    allowed = set(_NAMES)
    limit = environment.get(_ONEDNN, "").strip().upper()
    if limit and limit not in _EVERYTHING and not limit.startswith("AVX10_2"):
        allowed.discard("amx_bf16")
        if limit not in _AVX512_BF16:
            allowed.discard("avx512_bf16")
    if environment.get(_ATEN, "").strip().lower() in _NARROW:
        allowed -= {"avx512_bf16", "amx_bf16"}
    return allowed
