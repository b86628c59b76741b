"""Docstrings of public names render: griffe finds every parameter, returned value and error; examples run.

A generator of documentation sees what this test sees: it reads Google style from the sources, with griffe.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe
import numpy as np
import pytest
from griffe import DocstringSectionKind as Kind

import embhub
from embhub import builtin_bases as base
from embhub import errors, refusals
from embhub.artifact import embedding, fingerprint
from embhub.client.wire import errors as client_errors
from embhub.phantoms import write_dataset
from embhub.site.signing import keys
from tests.support.quick import others_thorough
from tests.support.sites import Site

ROOT = Path(__file__).parents[1]
MODELS = ("Card",)  # pydantic: each field has a description, which the site shows as a table
SILENT = {"told", "to_dict", "to_json", "audit_in_words", "sheet", "without_log_proofs"}  # raise nothing of their own
OTHERS = (
    "embhub.client.publishing.push.Signed",
    "embhub.client.publishing.push.Pushed",
    "embhub.client.wire.answers.Account",
    "embhub.client.wire.hub.Receipt",
)
EXAMPLES = sorted(set(embhub.__all__) - {"audit", "copy_check", "evaluate", "train", "Card"})
DRAWING = ("dataset", "interpolate", "load_into", "redraw")
"""`generate` draws likewise, and is in `make test`."""


@pytest.fixture(scope="module")
def sources() -> griffe.Object:
    package = griffe.load("embhub", search_paths=[str(ROOT)], docstring_parser="google")
    assert isinstance(package, griffe.Module)
    return package


def place_of(name: str) -> str:
    thing = getattr(embhub, name)
    return f"{thing.__module__}.{thing.__qualname__}".removeprefix("embhub.")


def public_functions(sources: griffe.Object, name: str) -> Iterator[tuple[str, griffe.Function]]:
    """The function of this name, or the public methods of the class."""
    found = sources[place_of(name)]
    if isinstance(found, griffe.Function):
        yield name, found
    else:
        for member in found.members.values():
            if isinstance(member, griffe.Function) and not member.name.startswith("_"):
                yield f"{name}.{member.name}", member


def sections(found: griffe.Object) -> dict[Kind, Any]:
    assert found.docstring is not None, f"{found.path} has no docstring"
    return {section.kind: section.value for section in found.docstring.parse("google")}


@pytest.mark.parametrize("name", embhub.__all__)
def test_every_parameter_return_and_error_is_documented(sources: griffe.Object, name: str) -> None:
    for shown, function in public_functions(sources, name):
        said = sections(function)
        wanted = [p.name for p in function.parameters if p.name not in ("self", "cls")]
        assert [p.name for p in said.get(Kind.parameters, [])] == wanted, shown
        returns = str(function.returns)
        assert (Kind.returns in said) == (returns != "None"), f"{shown} returns {returns}"
        if function.name not in SILENT:
            raised = [str(part.annotation) for part in said[Kind.raises]]
            module = importlib.import_module(function.module.path)
            unknown = [one for one in raised if not is_error(one, module)]
            assert raised and not unknown, f"{shown}: no exceptions called {unknown}"


def is_error(name: str, module: Any) -> bool:
    """Whether an exception of this name is there: in the module, among ours, or among those that are loaded."""
    if any(hasattr(place, name) for place in (module, errors, refusals, client_errors)):
        return True
    return any(kind.__name__ == name for kind in subclasses(BaseException))


def subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    for one in kind.__subclasses__():
        yield one
        yield from subclasses(one)


@pytest.mark.parametrize("name", [n for n in embhub.__all__ if inspect.isclass(getattr(embhub, n)) and n not in MODELS])
def test_every_attribute_is_documented(sources: griffe.Object, name: str) -> None:
    found = sources[place_of(name)]
    said = {part.name for part in sections(found).get(Kind.attributes, [])}
    fields = {one.name for one in found.members.values() if one.is_attribute and not one.name.startswith("_")}
    properties = {field for field in fields if found.members[field].docstring is not None}
    assert fields - properties <= said, f"not documented: {sorted(fields - properties - said)}"
    assert said <= fields | set(found.all_members), "documented, and not there"


@pytest.mark.parametrize("place", OTHERS)
def test_what_they_return_is_documented(sources: griffe.Object, place: str) -> None:
    found = sources[place.removeprefix("embhub.")]
    said = {part.name for part in sections(found)[Kind.attributes]}
    assert said == {one.name for one in found.members.values() if one.is_attribute}


@pytest.mark.parametrize("name", MODELS)
def test_every_field_of_a_model_has_a_description(name: str) -> None:
    fields = getattr(embhub, name).model_fields
    assert fields and all(field.description for field in fields.values())


@pytest.mark.parametrize("name", embhub.__all__)
def test_griffe_has_no_remark(sources: griffe.Object, name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = sources[place_of(name)]
        for one in [found, *(member for _, member in public_functions(sources, name))]:
            assert one.docstring is not None
            one.docstring.parse("google")
    assert not caplog.records


def test_the_reference_lists_every_public_name() -> None:
    page = (ROOT / "docs/reference/python-api.md").read_text()
    assert [name for name in embhub.__all__ if f"\n| `{name}` |" not in page] == []


@pytest.fixture
def somebody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A site with phantoms, an embedding for the built-in base, and a second one with card and report to be signed."""
    Site(tmp_path).enter(monkeypatch)
    keys.generate()
    write_dataset(tmp_path / "images", "prostate-cspca", images=6, patients=4, seed=0)
    folder = base.resolve("builtin")
    assert folder is not None
    rows = np.random.default_rng(0).normal(size=(8, 128)) * 0.02
    made = embedding.build(
        {"emb_params": rows}, token="<cspca>", base=fingerprint.take(folder), base_name="builtin",
        training={"tool": "embhub", "vectors": 8},
    )  # fmt: skip
    (tmp_path / "prostate-cspca.safetensors").write_bytes(made.data)
    signed = Site(tmp_path / "signed")
    signed.folder.mkdir()
    signed.make()
    return {"data": made.data}


@pytest.mark.parametrize("name", others_thorough(EXAMPLES, [name for name in EXAMPLES if name not in DRAWING]))
@pytest.mark.filterwarnings("ignore::embhub.diffusion.generation.loading.UnverifiedWarning")
def test_examples_run(name: str, somebody: dict[str, Any]) -> None:
    if name == "push":
        file, hub = "signed/prostate-cspca.safetensors", "https://hub.example.org"
        embhub.sign(file, repository="hospital-a/prostate-cspca", registry=hub)
    thing = getattr(embhub, name)
    examples = doctest.DocTestFinder(recurse=False).find(thing, name, globs=somebody)
    assert examples and examples[0].examples, f"{name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for example in examples:
        heard: list[str] = []
        assert runner.run(example, out=heard.append).failed == 0, "".join(heard)
