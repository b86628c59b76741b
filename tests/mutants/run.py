"""`make mutants`: does a test notice when a file that decides is changed in one place?

It fails on a mutant that survives its nearest tests and is not in survivors.toml, and on an entry of survivors.toml
that a test notices by now, or that is no mutant any more. What was tried stays in mutants-out/ and is not tried again
with the same file of tests; remove the folder where something else changed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import pytest

from tests.mutants.mutations import mutants

ROOT = Path(__file__).parents[2]
SURVIVORS = Path(__file__).with_name("survivors.toml")
KEPT = ROOT / "mutants-out"
OURS = ("embhub", "embhub_bases", "embhub_registry", "tests")

NEAREST = {  # the files that decide what is accepted, refused or spent, each with its nearest tests below tests/
    "embhub/release/verification.py": (
        "embhub/release/test_verification.py",
        "embhub/test_tampering.py",
        "embhub/release/test_findings.py",
        "embhub/release/checks/test_revocations.py",
        "embhub/release/checks/test_derivations.py",
        "embhub/release/checks/test_audit_files.py",
        "embhub/release/checks/test_claims.py",
    ),
    "embhub/release/checks/signers.py": (
        "embhub/trust/test_kinds.py",
        "embhub/release/checks/test_revocations.py",
        "embhub/release/checks/test_audit_files.py",
        "embhub/release/test_verification.py",
        "embhub/test_two_registries.py",
        "embhub/release/test_findings.py",
        "embhub/client/test_logged_designs.py",
    ),
    "embhub/release/demands.py": ("embhub/release/test_demands.py", "embhub/release/test_policy.py"),
    "embhub/release/policy.py": (
        "embhub/release/test_demands.py",
        "embhub/release/test_policy.py",
        "embhub/release/checks/test_revocations.py",
    ),
    "registry/embhub_registry/admission/rules.py": (
        "registry/admission/test_rules_alone.py",
        "registry/admission/test_rules.py",
        "registry/admission/test_admission_of_persons.py",
        "embhub/release/checks/test_claims.py",
    ),
    "registry/embhub_registry/admission/release_order.py": (
        "registry/admission/test_release_order.py",
        "registry/admission/test_rules.py",
    ),
    "embhub/trust/kinds.py": (
        "embhub/trust/test_kinds.py",
        "embhub/trust/test_bundle.py",
        "embhub/test_two_registries.py",
        "embhub/release/test_verification.py",
        "embhub/release/test_findings.py",
    ),
    "embhub/trust/keyring.py": ("embhub/trust/test_keyring.py", "embhub/trust/test_freshness.py"),
    "embhub/trust/advisories.py": ("embhub/trust/test_advisories.py",),
    "embhub/trust/freshness.py": ("embhub/trust/test_freshness.py",),
    "embhub/privacy/sampled_gaussian.py": ("embhub/privacy/test_sampled_gaussian_figures.py",),
    "embhub/ledger/budget.py": (
        "embhub/ledger/test_budget.py",
        "embhub/ledger/test_linking.py",
        "embhub/ledger/test_budget_commands.py",
        "embhub/ledger/test_studies_in_ledger.py",
    ),
    "embhub/audits/verdict.py": ("embhub/audits/test_verdict.py", "embhub/audits/test_report.py"),
    "embhub/audits/report_facts.py": ("embhub/audits/test_verdict.py", "embhub/audits/test_report.py"),
}
SECONDS = 120  # of processor time for the tests of one mutant, and five times as many by the clock
THIRD_PARTY = ("cryptography.hazmat.primitives.asymmetric.ec", "hypothesis.strategies", "numpy", "pydantic", "yaml",
               "rfc8785", "starlette.applications", "PIL.Image", "safetensors.numpy")  # fmt: skip


def main() -> int:
    """Try the mutants of some files, or a sample of them; 1 where the list of survivors is not what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", default=[], help="of the fourteen; all where none is named")
    parser.add_argument("--sample", type=int, help="how many mutants of each file; all by default")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    asked = parser.parse_args()
    known = tomllib.loads(SURVIVORS.read_text())
    for name in THIRD_PARTY:  # once, and not for each mutant: what is our own is imported anew each time
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tree"
        left_out = shutil.ignore_patterns(".git", ".venv", ".hypothesis", "__pycache__", "*-out")
        shutil.copytree(ROOT, copy, ignore=left_out)
        wrong = [
            line
            for file in asked.files or NEAREST
            for line in _try_file(file, known.get(file, {}), copy, sample=asked.sample, seed=asked.seed)
        ]
    print("\n".join(wrong) or "survivors are those that are listed")
    return 1 if wrong else 0


def _try_file(file: str, known: dict[str, str], copy: Path, *, sample: int | None, seed: int) -> list[str]:
    """What is wrong with the list of one file's survivors, a line each."""
    source = (ROOT / file).read_text()
    made = mutants(source)
    wrong = [f"{file}: listed, and no mutant any more: {name}" for name in known.keys() - {name for name, _ in made}]
    if not all(_passes(copy, file, source, test) for test in NEAREST[file]):
        raise SystemExit(f"{file}: its nearest tests fail without any change\n{(copy.parent / 'said').read_text()}")
    shutil.rmtree((copy / file).parent / "__pycache__", ignore_errors=True)
    chosen = made if sample is None else random.Random(f"{seed} {file}").sample(made, min(sample, len(made)))
    survived = 0
    for name, changed in chosen:
        lives = all(_remember(copy, file, changed, test) for test in NEAREST[file])
        survived += lives
        print(f"{'SURVIVED' if lives else 'killed  '} {name}", flush=True)
        if lives != (name in known):
            wrong.append(f"{file}: {'survives, and is not listed' if lives else 'listed, and killed'}: {name}")
    (copy / file).write_text(source)
    print(f"{file}: {len(chosen)} of {len(made)} mutants tried, {survived} survived", flush=True)
    return wrong


def _remember(copy: Path, file: str, changed: str, test: str) -> bool:
    """Whether a mutant survives a file of tests, from mutants-out/ where it was tried before with the same tests."""
    tried = json.dumps([file, changed, [(copy / "tests" / test).read_text()]])
    kept = KEPT / f"{hashlib.sha256(tried.encode()).hexdigest()}.json"
    if not kept.exists():
        lives = _passes(copy, file, changed, test)
        KEPT.mkdir(exist_ok=True)
        kept.write_text(json.dumps(lives))
    return bool(json.loads(kept.read_text()))


def _passes(copy: Path, file: str, source: str, test: str) -> bool:
    """Whether a file of tests passes in a fork of this process, which has imported nothing of ours but this."""
    (copy / file).write_text(source)
    child = os.fork()
    if child == 0:
        _test(copy, str(copy / "tests" / test))
    end = time.monotonic() + 5 * SECONDS
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            if code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
                raise SystemExit((copy.parent / "said").read_text())
            return code == 0
        time.sleep(0.02)
    os.killpg(child, 9)
    os.waitpid(child, 0)
    return False


def _test(copy: Path, test: str) -> None:
    """Run pytest over the copy and end the process with its exit code."""
    code = 1
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        for stream in (1, 2):
            os.dup2(os.open(copy.parent / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
        os.chdir(copy)
        paths = [str(copy), str(copy / "registry"), str(copy / "bases")]
        ours = {"", str(ROOT), str(ROOT / "registry"), str(ROOT / "bases")}
        sys.path[:] = paths + [path for path in sys.path if path not in ours]
        for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
            del sys.modules[name]
        importlib.invalidate_caches()
        os.environ |= {"PYTHONPATH": os.pathsep.join(paths), "HYPOTHESIS_PROFILE": "few"}
        chosen = ["-m", "not thorough and not slow", "-k", "not fast_enough"]
        code = pytest.main(["-x", "-q", "-n", "0", "-p", "no:cacheprovider", *chosen, test])
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
