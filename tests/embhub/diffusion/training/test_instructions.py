"""The number format follows the processor's flags, and nothing that is measured."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from embhub.diffusion.training import instructions
from embhub.diffusion.training.instructions import bfloat16_instructions
from embhub.diffusion.training.precision import in_bfloat16
from embhub.diffusion.training.recipes import ResolvedRecipe, default_recipe, describe, recorded_recipe, resolve
from embhub.errors import UsageError
from embhub.options.precision import Precision
from embhub.options.training import Recipe
from tests.support import pipelines

OLD_XEON = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Processor @ 2.60GHz
flags\t\t: fpu sse2 avx avx2 avx512f avx512dq avx512bw avx512vl avx512_vnni
bugs\t\t: spectre_v1 avx512_bf16
"""
EPYC = """processor\t: 0
model name\t: AMD EPYC
flags\t\t: fpu sse2 avx2 avx512f avx512bw avx512vl avx512_bf16 avx512_vnni

processor\t: 1
flags\t\t: fpu sse2 avx2 avx512f avx512bw avx512vl avx512_bf16 avx512_vnni
"""
SAPPHIRE_RAPIDS = """processor\t: 0
flags\t\t: avx2 avx512f avx512_bf16 amx_bf16 avx512_fp16 amx_tile amx_int8
"""
GRAVITON3 = """processor\t: 0
BogoMIPS\t: 2100.00
Features\t: fp asimd evtstrm aes sve asimdhp asimddp i8mm bf16 dgh rng
CPU implementer\t: 0x41
"""
GRAVITON2 = """processor\t: 0
Features\t: fp asimd evtstrm aes asimdhp cpuid asimdrdm lrcpc dcpop asimddp ssbs
"""
UNEVEN = EPYC + "\nprocessor\t: 2\nflags\t\t: fpu sse2 avx2 avx512f\n"


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        (OLD_XEON, ()),
        (EPYC, ("AVX-512 BF16",)),
        (SAPPHIRE_RAPIDS, ("AVX-512 BF16", "AMX BF16")),
        (GRAVITON3, ("ARM BF16",)),
        (GRAVITON2, ()),
        (UNEVEN, ()),
        ("", ()),
        ("no colon, no flags\n:\n", ()),
    ],
)
def test_flags_name_the_instructions(cpuinfo: str, expected: tuple[str, ...]) -> None:
    assert bfloat16_instructions(cpuinfo, {}) == expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}, ()),
        ({"ONEDNN_MAX_CPU_ISA": "avx2"}, ()),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}, ("AVX-512 BF16",)),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_FP16"}, ("AVX-512 BF16",)),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX"}, ("AVX-512 BF16", "AMX BF16")),
        ({"ONEDNN_MAX_CPU_ISA": "ALL"}, ("AVX-512 BF16", "AMX BF16")),
        ({"ONEDNN_MAX_CPU_ISA": ""}, ("AVX-512 BF16", "AMX BF16")),
        ({"ATEN_CPU_CAPABILITY": "avx2"}, ()),
        ({"ATEN_CPU_CAPABILITY": "default"}, ()),
        ({"ATEN_CPU_CAPABILITY": "avx512"}, ("AVX-512 BF16", "AMX BF16")),
    ],
)
def test_the_environment_can_leave_instructions_out(environment: dict[str, str], expected: tuple[str, ...]) -> None:
    assert bfloat16_instructions(SAPPHIRE_RAPIDS, environment) == expected


def _machine(monkeypatch: pytest.MonkeyPatch, folder: Path, cpuinfo: str) -> None:
    (folder / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(instructions, "CPUINFO", folder / "cpuinfo")
    for name in ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("cpuinfo", "expected"), [(OLD_XEON, "float32"), (EPYC, "bfloat16")])
def test_the_header_says_what_was_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cpuinfo: str, expected: str
) -> None:
    _machine(monkeypatch, tmp_path, cpuinfo)
    pipe = pipelines.build()
    wanted: tuple[Precision, ...] = ("auto", "float32", "bfloat16")
    recipes = [resolve(Recipe(precision=one), default_recipe(pipe), device="cpu") for one in wanted]
    said = [describe(pipe, "{}", recipe)["precision"] for recipe in recipes]
    assert said == [expected, "float32", "bfloat16"]
    assert describe(pipe, "{}", ResolvedRecipe())["precision"] == expected


def test_an_audit_trains_as_the_file_was_trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _machine(monkeypatch, tmp_path, OLD_XEON)
    recorded = asdict(ResolvedRecipe(mixed_precision=True))
    assert recorded_recipe(recorded, device="cpu").mixed_precision is True
    assert recorded_recipe(recorded, "auto", device="cpu").mixed_precision is False
    assert recorded_recipe(recorded, "bfloat16", device="cpu").mixed_precision is True


def test_no_file_with_flags_means_float32(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(instructions, "CPUINFO", tmp_path / "missing")
    assert in_bfloat16("cpu") is False
    assert in_bfloat16("cpu", "bfloat16") is True


def test_a_device_that_cannot_is_refused() -> None:
    assert in_bfloat16("mps") is False
    with pytest.raises(UsageError, match="no training in bfloat16"):
        in_bfloat16("mps", "bfloat16")
