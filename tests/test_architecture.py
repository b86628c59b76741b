"""The rules of the house, read from the sources: what may import what, what stays pure, how long a file may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Set
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DIFFUSION = sorted((ROOT / "embhub/diffusion").rglob("*.py"))
COMMANDS = sorted((ROOT / "embhub/cli").rglob("*.py"))
CORE = sorted({*(ROOT / "embhub").rglob("*.py")} - {*DIFFUSION, *COMMANDS})
REGISTRY = sorted((ROOT / "registry/embhub_registry").rglob("*.py"))
SOURCES = [*CORE, *DIFFUSION, *COMMANDS, *REGISTRY]

HEAVY = {"torch", "diffusers", "transformers", "opacus", "accelerate", "matplotlib"}
PURE = [
    *("trust", "privacy", "release/checks", "release/verification", "release/policy", "refusals"),
    *("audits", "cards/evaluation", "cards/samples", "copies"),
    *(f"evidence/{name}" for name in ("controls", "document", "gathering", "page", "sections", "written")),
    *(
        f"formats/{name}"
        for name in ("strict_json", "tensors", "instants", "names", "plain_png", "synthetic_mark", "plain_text")
    ),
    "artifact/header",
]
"""Folders and modules that decide, and read no file, socket or clock."""
CLIENTS = {"huggingface_hub", "httpx", "httpx2", "requests", "urllib3"}
WORLD = {"os", "pathlib", "socket", "time", "subprocess", "urllib", "http", "tempfile", "shutil", *CLIENTS}
DATABASE = ROOT / "registry/embhub_registry/database"
SQL = re.compile(
    r"""\s*(?:
        (?i:select\b.*\bfrom\b | insert\s+(?:or\s+\w+\s+)?into\s | update\s+\S+\s+set\b | delete\s+from\s)
        | (?:BEGIN|COMMIT|ROLLBACK|SAVEPOINT|VACUUM|ANALYZE)(?:\s|;|$)
        | (?:PRAGMA|LISTEN|NOTIFY|ATTACH|DETACH|REINDEX|TRUNCATE|SHOW|LOCK)\s | SET\s+(?:LOCAL\s+)?\w+\s*(?:=|TO\b)
        | (?:CREATE|ALTER|DROP)\s+(?:\w+\s+)?(?:TABLE|INDEX|VIEW|TRIGGER|SCHEMA)\b | WITH\s.*\bAS\s*\(
        | SELECT\s | FROM\s | WHERE\s | GROUP\s+BY\b | ORDER\s+BY\b | (?:LEFT\s+|CROSS\s+)?JOIN\s | ON\s+CONFLICT\b
    )""",
    re.X | re.S,
)
"""How a statement of SQL, or a part of one, begins."""
MAX_LINES = 350
DOCUMENTED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
SECTION = re.compile(r"^(Args|Attributes|Returns):$", re.M)


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Everything that a file holds, the module first."""
    return tuple(ast.walk(ast.parse(path.read_text())))


@cache
def imported(path: Path) -> frozenset[str]:
    """Top-level names of every import in a file, wherever it stands."""
    names: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return frozenset(names)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def importing(paths: Iterable[Path], modules: Set[str]) -> dict[str, Set[str]]:
    """The files that import one of these modules, and which. One test for a rule: a thousand take ten seconds."""
    return {name(path): imported(path) & modules for path in paths if imported(path) & modules}


def test_only_diffusion_imports_torch() -> None:
    assert importing([*CORE, *COMMANDS, *REGISTRY], HEAVY) == {}


def test_core_knows_neither_click_nor_a_server() -> None:
    assert importing((p for p in CORE if p.stem != "__main__"), {"click", "starlette", "uvicorn"}) == {}


def test_one_file_speaks_http_one_to_a_provider_one_writes_to_the_hub_and_two_load_bases_from_it() -> None:
    assert importing(SOURCES, CLIENTS) == {
        "embhub/client/wire/http_client.py": {"httpx2"},
        "embhub/client/publishing/hub_sending.py": {"huggingface_hub", "httpx"},  # names its errors
        "registry/embhub_registry/people/login/provider.py": {"httpx2"},  # names its errors; Authlib speaks
        "embhub/diffusion/bases/pipelines.py": {"huggingface_hub"},
        "embhub/diffusion/bases/found.py": {"huggingface_hub"},
    }


def test_the_server_has_one_way_out() -> None:
    """A mirror is a client, which stays at its registry's address (`embhub.client.wire.guard`)."""
    ways = {"create_connection", "HTTPConnection", "HTTPSConnection", "urlopen", "RegistryClient", "AF_INET"}
    found = {
        name(path): used
        for path in REGISTRY
        if (used := {part.attr for part in nodes(path) if isinstance(part, ast.Attribute)} & ways)
    }
    assert found == {"registry/embhub_registry/storage/outgoing.py": {"HTTPConnection", "AF_INET"}}
    assert importing(REGISTRY, {"http", "smtplib"}) == {
        "registry/embhub_registry/operation/background/mailing.py": {"smtplib"},  # over a socket that it is given
        "registry/embhub_registry/storage/outgoing.py": {"http"},
    }


def test_only_the_database_writes_sql() -> None:
    outside = [path for path in SOURCES if DATABASE not in path.parents]
    assert importing(outside, {"sqlite3", "psycopg"}) == {}
    assert {name(path): found for path in outside if (found := sql_of(nodes(path)))} == {}


def sql_of(parts: Iterable[ast.AST]) -> list[str]:
    """Statements of SQL, or parts of them, in texts, and calls that run a statement; with their lines."""
    found = []
    for node in parts:
        match node:
            case ast.Constant(value=str(text), lineno=line) if SQL.match(text):
                found.append(f"{line}: {text}")
            case ast.Attribute(attr=("execute" | "executemany" | "executescript") as word, lineno=line):
                found.append(f"{line}: .{word}")
    return found


@pytest.mark.parametrize(
    "statement",
    [
        """db.execute(text)""",
        """rows = f"SELECT * FROM {table}" """,
        """text = "ROLLBACK" """,
        """text = "  select id from repository" """,
        """text = "UPDATE repository SET position = 1" """,
        """text = " ORDER BY position DESC" """,
        """text = "PRAGMA user_version" """,
    ],
)
def test_sql_is_seen(statement: str) -> None:
    assert sql_of(ast.walk(ast.parse(statement)))


@pytest.mark.parametrize("harmless", ["DELETE", "WITH", "Select a release", "Update the keyring", "from here"])
def test_words_are_no_sql(harmless: str) -> None:
    assert sql_of(ast.walk(ast.parse(repr(harmless)))) == []


def pure() -> list[Path]:
    """Every file of `PURE`."""
    places = [ROOT / "embhub" / stem for stem in PURE]
    return [path for place in places for path in (sorted(place.glob("*.py")) or [place.with_suffix(".py")])]


def test_decisions_read_no_file_socket_or_clock() -> None:
    assert pure() and importing(pure(), WORLD) == {}
    for path in pure():
        calls = {node.attr for node in nodes(path) if isinstance(node, ast.Attribute)}
        assert not calls & {"now", "utcnow", "today", "read_bytes", "read_text", "open"}, path


@pytest.mark.parametrize(
    "stem", ["admission/rules", "repositories/proposal", "admission/release_order", "people/personal_data"]
)
def test_admission_is_pure(stem: str) -> None:
    assert not imported(ROOT / f"registry/embhub_registry/{stem}.py") & (WORLD | {"sqlite3", "starlette"})


def module(path: Path) -> str:
    """A file's dotted name."""
    parts = path.relative_to(ROOT / "registry" if path in REGISTRY else ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def loaded_by(path: Path) -> set[str]:
    """What a file imports, wherever it stands, but for types alone: modules, and names in them."""
    typing = [n for n in nodes(path) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    skipped = {id(part) for block in typing for child in block.body for part in ast.walk(child)}
    found = set[str]()
    for node in nodes(path):
        if isinstance(node, ast.Import) and id(node) not in skipped:
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and id(node) not in skipped:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize(
    ("entry", "most"),
    [
        ("embhub.release.verification", 111),
        ("embhub.client.pulling.pull", 181),
        ("embhub.client.publishing.push", 165),
        ("embhub.evidence.pack", 128),
        ("embhub_registry.wire.hub_api.hf_changes", 218),
    ],
)
def test_what_has_to_be_read_to_vouch_for_a_call_does_not_grow(entry: str, most: int) -> None:
    """Modules that an entry reaches by imports; lower the number when you move what it does not need.

    A folder's own file that holds its docstring alone is nothing to read.
    """
    files = {module(path): path for path in SOURCES}
    reached, left = set[str](), {entry}
    while left:
        name = left.pop()
        reached.add(name)
        left |= (loaded_by(files[name]) & files.keys()) - reached
    assert len([one for one in reached if len(ast.parse(files[one].read_text()).body) > 1]) <= most


def test_files_are_short_and_say_what_they_are() -> None:
    for path in SOURCES:
        text, module = path.read_text(), nodes(path)[0]
        assert len(text.splitlines()) - documentation(path) <= MAX_LINES, f"does {path} still hold one idea?"
        assert isinstance(module, ast.Module)
        assert not text.strip() or ast.get_docstring(module), f"a module docstring says what {path} holds"
        assert path.stem not in {"utils", "helpers", "common", "misc"}, path


def documentation(path: Path) -> int:
    """Lines of docstrings with sections, which document the public interface for people outside: never too many."""
    parts = [ast.get_docstring(n) or "" for n in nodes(path) if isinstance(n, DOCUMENTED)]
    return sum(len(part.splitlines()) for part in parts if SECTION.search(part))


@pytest.mark.thorough
def test_importing_the_core_loads_nothing_heavy() -> None:
    dotted = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in CORE if not p.stem.startswith("__")]
    code = f"import sys, importlib; [importlib.import_module(n) for n in {dotted!r}]; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {m.split(".")[0] for m in loaded} & (HEAVY | {"click", "starlette", "huggingface_hub", "jinja2"})


def test_help_is_fast_because_it_imports_click_and_nothing_heavy() -> None:
    code = (
        "import sys\nfrom embhub.__main__ import main\nsys.argv = ['embhub', '--help']\n"
        "try: main()\nexcept SystemExit: pass\nprint('LOADED', *sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {m.split(".")[0] for m in out.rsplit("LOADED", 1)[1].split()}
    assert "click" in loaded
    assert not loaded & (HEAVY | CLIENTS | {"jinja2", "numpy", "scipy", "pydantic", "cryptography", "PIL", "yaml"})


def test_the_registrys_help_is_fast_too() -> None:
    code = (
        "import sys\nfrom embhub_registry.__main__ import main\nsys.argv = ['embhub-registry', '--help']\n"
        "try: main()\nexcept SystemExit: pass\nprint('LOADED', *sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {m.split(".")[0] for m in out.rsplit("LOADED", 1)[1].split()}
    assert "click" in loaded
    assert not loaded & (HEAVY | {"starlette", "uvicorn", "sqlite3", "numpy", "pydantic", "cryptography", "yaml"})


def test_uvicorn_is_used_by_its_public_interface() -> None:
    """`import uvicorn`, its two documented classes, and none of them a base: a new release of it breaks nothing."""
    for path in [*REGISTRY, ROOT / "tests/support/threads.py"]:
        for node in nodes(path):
            match node:
                case ast.Import(names=names):
                    assert not any(name.name.startswith("uvicorn.") for name in names), path
                case ast.ImportFrom(module=str(module)):
                    assert module.partition(".")[0] not in {"uvicorn", "h11", "httptools"}, path
                case ast.Attribute(value=ast.Name(id="uvicorn"), attr=name):
                    assert name in {"Config", "Server"}, f"{path}: uvicorn.{name}"
                case ast.ClassDef(bases=bases):
                    assert not any("uvicorn" in ast.unparse(base) for base in bases), path


def test_exceptions_end_in_error() -> None:
    for path in SOURCES:
        raised = {node.exc for node in nodes(path) if isinstance(node, ast.Raise) and node.exc}
        named = {ast.unparse(exc.func if isinstance(exc, ast.Call) else exc).rpartition(".")[2] for exc in raised}
        classes = {each for each in named if each[:1].isupper()} - {
            "SystemExit",
            "KeyboardInterrupt",
            "StopIteration",
            "BadParameter",
        }
        assert {c for c in classes if not c.endswith(("Error", "Exception", "Exit", "Abort"))} == set(), path
