"""The rules of the house, read from the sources: what may import what, what stays pure, how long a file may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("accounting", "formats", "cards", "audits", "checks", "copies", "evidence", "site", "phantoms")
CORE = sorted(
    [*(ROOT / "embhub").glob("*.py"), *(p for name in PACKAGES for p in (ROOT / "embhub" / name).glob("*.py"))]
)
DIFFUSION = sorted((ROOT / "embhub/diffusion").rglob("*.py"))
COMMANDS = sorted((ROOT / "embhub/cli").rglob("*.py"))
REGISTRY = sorted((ROOT / "registry/embhub_registry").rglob("*.py"))
SOURCES = [*CORE, *DIFFUSION, *COMMANDS, *REGISTRY]

HEAVY = {"torch", "diffusers", "transformers", "opacus", "accelerate"}
PURE = [
    *("verification", "dsse", "statement", "bundle", "audit", "privacy", "trust"),
    *("accounting/gaussian", "accounting/curves", "accounting/calibration", "accounting/lineage", "accounting/wording"),
    "accounting/composition",
    *("accounting/losses", "accounting/loss_grid", "accounting/figures", "accounting/contradictions"),
    "accounting/reconstruction",
    *(
        "checks/claims",
        "checks/signers",
        "checks/revocations",
        "checks/versions",
        "checks/yanks",
        "checks/attested",
        "checks/demands",
        "checks/consistency",
        "checks/samples",
        "checks/refusals",
    ),
    "cards/evaluation",
    "cards/samples",
    *("audits/statistics", "audits/attack_figures", "audits/verdict", "audits/audit_page", "audits/roc_figure"),
    "audits/explanation",
    "copies/tail",
    "copies/report",
    "copies/page",
    *("evidence/concerns", "evidence/cover", "evidence/coverage", "evidence/document", "evidence/gathering"),
    *("evidence/histogram", "evidence/page", "evidence/regulation", "evidence/sacro", "evidence/sections"),
    "evidence/shipping",
    *("formats/strict_json", "formats/tensors", "formats/header", "formats/p256", "formats/instants", "formats/names"),
    "formats/plain_png",
]
WORLD = {"os", "pathlib", "socket", "time", "subprocess", "urllib", "http", "huggingface_hub", "tempfile", "shutil"}
MAX_LINES = 350
DOCUMENTED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
SECTION = re.compile(r"^(Args|Attributes|Returns):$", re.M)


def imported(path: Path) -> set[str]:
    """Top-level names of every import in a file, wherever it stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [*CORE, *COMMANDS, *REGISTRY], ids=name)
def test_only_diffusion_imports_torch(path: Path) -> None:
    assert not imported(path) & HEAVY


@pytest.mark.parametrize("path", [p for p in CORE if p.stem != "__main__"], ids=name)
def test_core_knows_neither_click_nor_a_server(path: Path) -> None:
    assert not imported(path) & {"click", "starlette", "uvicorn"}


@pytest.mark.parametrize("path", [p for p in SOURCES if p.stem != "hub"], ids=name)
def test_only_hub_talks_to_a_registry(path: Path) -> None:
    allowed = {"embhub/diffusion/pipelines.py"}  # loads real base models from the Hub
    if name(path) not in allowed:
        assert not imported(path) & {"huggingface_hub", "httpx", "requests", "urllib3"}


@pytest.mark.parametrize("path", [p for p in SOURCES if "database" not in name(p)], ids=name)
def test_only_the_database_writes_sql(path: Path) -> None:
    assert "sqlite3" not in imported(path)


@pytest.mark.parametrize("stem", PURE)
def test_decisions_read_no_file_socket_or_clock(stem: str) -> None:
    path = ROOT / f"embhub/{stem}.py"
    assert not imported(path) & WORLD
    calls = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
    assert not calls & {"now", "utcnow", "today", "read_bytes", "read_text", "open"}


@pytest.mark.parametrize("stem", ["admission", "proposal", "persons", "succession"])
def test_admission_is_pure(stem: str) -> None:
    assert not imported(ROOT / f"registry/embhub_registry/{stem}.py") & (WORLD | {"sqlite3", "starlette"})


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_files_are_short_and_say_what_they_are(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) - documentation(text) <= MAX_LINES, "does this file still hold one idea?"
    assert not text.strip() or ast.get_docstring(ast.parse(text)), "a module docstring says what the file holds"
    assert path.stem not in {"utils", "helpers", "common", "misc"}


def documentation(text: str) -> int:
    """Lines of docstrings with sections, which document the public interface for people outside: never too many."""
    parts = [ast.get_docstring(n) or "" for n in ast.walk(ast.parse(text)) if isinstance(n, DOCUMENTED)]
    return sum(len(part.splitlines()) for part in parts if SECTION.search(part))


def test_importing_the_core_loads_nothing_heavy() -> None:
    dotted = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in CORE if not p.stem.startswith("__")]
    names = [n for n in dotted if n != "embhub.hub"]
    code = f"import sys, importlib; [importlib.import_module(n) for n in {names!r}]; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {m.split(".")[0] for m in loaded} & (HEAVY | {"click", "starlette", "huggingface_hub"})


def test_help_is_fast_because_it_imports_click_and_nothing_heavy() -> None:
    code = (
        "import sys\nfrom embhub.__main__ import main\nsys.argv = ['embhub', '--help']\n"
        "try: main()\nexcept SystemExit: pass\nprint('LOADED', *sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {m.split(".")[0] for m in out.rsplit("LOADED", 1)[1].split()}
    assert "click" in loaded
    assert not loaded & (HEAVY | {"numpy", "scipy", "pydantic", "huggingface_hub", "cryptography", "PIL", "yaml"})


def test_the_registrys_help_is_fast_too() -> None:
    code = (
        "import sys\nfrom embhub_registry.__main__ import main\nsys.argv = ['embhub-registry', '--help']\n"
        "try: main()\nexcept SystemExit: pass\nprint('LOADED', *sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {m.split(".")[0] for m in out.rsplit("LOADED", 1)[1].split()}
    assert "click" in loaded
    assert not loaded & (HEAVY | {"starlette", "uvicorn", "sqlite3", "numpy", "pydantic", "cryptography", "yaml"})
