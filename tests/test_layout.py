"""The layout: how many entries a folder has, what each folder says of itself, and the page that maps them."""

from __future__ import annotations

import ast
import graphlib
import re
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/explanation/layout.md").read_text()
MOST = {"embhub": 33, "embhub/diffusion": 17, "registry/embhub_registry": 16}
WIDER = {
    "embhub": 33,
    "embhub/audits": 19,
    "embhub/cards": 19,
    "embhub/diffusion": 17,
    "embhub/diffusion/adaptation/base_training": 17,
    "embhub/diffusion/attacks": 21,
    "embhub/diffusion/dp": 19,
    "embhub/diffusion/evaluation": 24,
    "embhub/diffusion/families": 21,
    "embhub/diffusion/generation": 20,
    "embhub/diffusion/training": 24,
    "embhub/ledger": 20,
    "embhub/privacy": 22,
    "embhub/release/checks": 22,
    "embhub/trust": 21,
    "registry/embhub_registry/repositories": 25,
}
PACKAGES = sorted(
    path.parent
    for top in ("embhub", "registry/embhub_registry", "bases", "bench", "examples")
    for path in (ROOT / top).rglob("*.py")
    if path.name == "__init__.py"
)


def entries(folder: str) -> list[str]:
    """Files and folders that belong to a package."""
    return sorted(path.name for path in (ROOT / folder).iterdir() if path.name != "__pycache__")


def section(folder: str) -> str:
    """The part of the page about a folder."""
    return re.split(r"^## ", PAGE.split(f"## `{folder}/`", 1)[1], maxsplit=1, flags=re.M)[0]


@pytest.mark.parametrize(("folder", "most"), MOST.items())
def test_a_folder_reads_like_a_table_of_contents(folder: str, most: int) -> None:
    assert len(entries(folder)) <= most, entries(folder)


def test_folders_have_few_entries() -> None:
    """Sixteen, and more where a split would make a circle of imports or part what belongs together."""
    folders = [
        str(path.relative_to(ROOT)) for path in PACKAGES if path.relative_to(ROOT).parts[0] in ("embhub", "registry")
    ]
    assert len(folders) > 90
    assert {folder: len(entries(folder)) for folder in folders if len(entries(folder)) > 16} == WIDER


@pytest.mark.parametrize("folder", MOST)
def test_the_page_names_everything_in_a_folder(folder: str) -> None:
    named = set(re.findall(r"`([a-z_]+)/?`", section(folder))) | {"__init__", "py"}
    found = {Path(name).stem for name in entries(folder)} - {"__main__"}
    assert found - named == set()


def test_the_page_names_nothing_that_is_gone() -> None:
    for folder in MOST:
        here = {path.stem for path in (ROOT / folder).rglob("*")} | {"embhub"}
        said = set(re.findall(r"`([a-z_]+)/?`", section(folder)))
        assert said - here - {"embhub inspect"} == set(), folder


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_package_says_what_belongs_in_it(package: Path) -> None:
    assert ast.get_docstring(ast.parse((package / "__init__.py").read_text()))


def test_there_are_few_folders_at_the_top() -> None:
    known = {"bases", "bench", "docs", "embhub", "examples", "registry", "tests"}
    tracked = {path.parent.name for path in ROOT.glob("*/*") if path.parent.name.isidentifier()}
    assert {name for name in tracked if (ROOT / name / "__init__.py").exists()} <= known


@pytest.mark.parametrize("package", ["embhub", "embhub_registry"])
def test_no_module_imports_itself_by_way_of_others(package: str) -> None:
    graph = grimp.build_graph(package, exclude_type_checking_imports=False, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert list(graphlib.TopologicalSorter(imports).static_order()), "raises CycleError with the circle"
