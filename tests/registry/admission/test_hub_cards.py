"""What `validate-yaml` accepts loads in `huggingface_hub.ModelCard`, on cards that people and Hypothesis write."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub.release.files import CARD
from embhub_registry.admission import hub_cards
from embhub_registry.admission.listing import MAX_FRONT_MATTER, front_matter
from tests.registry.conftest import House
from tests.support import releases
from tests.support.quick import examples

RESULT = {"task": {"type": "t"}, "dataset": {"type": "d", "name": "D"}, "metrics": [{"type": "m", "value": 0.5}]}
# Plain scalars that YAML 1.1 reads as something else than text, or not at all.
SCALARS = [
    "x", "1", "yes", "on", "~", "", "=", "<<", "2026-11-20", "2026-13-45", "2026-11-20 10:00", "1:30", "0x_", "0b_",
    "08", "1e5", ".inf", ".nan", "0o17", "!!float x", "!!int _", "!!set {a}", "*a", "&a x", "1_000", "[a, b]", "{a: b}",
    "[",    '"\\ud800"', "'", "|", "- x", "@x", "%x", "?", "!", "!!binary x", "!!timestamp x", "\t", "\x07", "\u2028",
]  # fmt: skip
NAMES = [
    "tags", "license", "model-index", "eval_results", "model_name", "self", "ignore_metadata_errors", "to_yaml",
    "1", "yes", "null", "2026-11-20", "=", "<<", "x y", "kwargs", "class", "",
]  # fmt: skip


def accepted(readme: str) -> bool:
    """As the address judges it."""
    limit = MAX_FRONT_MATTER
    return front_matter(readme.encode(), limit=limit)[1] is None and hub_cards.find_problem(readme, limit=limit) is None


def check(readme: str) -> None:
    if accepted(readme):
        ModelCard(readme)


@settings(max_examples=examples(400), deadline=None)
@given(
    fields=st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(SCALARS)), max_size=3),
    first=st.sampled_from(["---\n", "---\r\n", "---\r", "\n---\n", " ---\n", "--- \n", "---\n---\n", "\ufeff---\n"]),
    last=st.sampled_from(["---\n", "---", "--- \n", "---\t\n# x\n---\n", "\n---\r\n", "---x\n---\n", "...\n---\n", ""]),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_what_is_accepted_loads(fields: list[tuple[str, str]], first: str, last: str, newline: str) -> None:
    check(first + "".join(f"{name}: {value}{newline}" for name, value in fields) + last)


ODD: Any = st.sampled_from([None, 0, 1, "", "x", [], {}, [None], ["x"], True])
PARTS = st.dictionaries(st.sampled_from(["type", "name", "value", "url", "config"]), ODD, max_size=4) | ODD
RESULTS = (
    st.fixed_dictionaries(
        {}, optional={"task": PARTS, "dataset": PARTS, "metrics": st.lists(PARTS, max_size=2) | ODD, "source": PARTS}
    )
    | st.builds(lambda changed: {**RESULT, **changed}, st.dictionaries(st.sampled_from([*RESULT, "source"]), PARTS))
    | ODD
)
INDEX = (
    st.lists(
        st.fixed_dictionaries({}, optional={"name": ODD, "results": st.lists(RESULTS, max_size=2) | ODD}) | ODD,
        max_size=2,
    )
    | ODD
)


@settings(max_examples=examples(400), deadline=None)
@given(index=INDEX, rest=st.fixed_dictionaries({}, optional={"tags": ODD, "eval_results": ODD, "model_name": ODD}))
def test_a_model_index_that_is_accepted_loads(index: Any, rest: dict[str, Any]) -> None:
    check(f"---\n{yaml.safe_dump({'model-index': index, **rest})}---\n# x\n")


LOADS = {
    "none": "# No front matter\n",
    "empty": "---\n---\n# Empty\n",
    "plain": "---\nlicense: mit\ntags:\n- a\n---\n",
    "a date": "---\ndate: 2026-11-20\n---\n",
    "Windows": "---\r\nlicense: mit\r\n---\r\n# x",
    "an index": f"---\n{yaml.safe_dump({'model-index': [{'name': 'n', 'results': [RESULT]}]})}---\n",
    "a release's own": releases.make_release().files[CARD].decode(),
    "an index without results": "---\nmodel-index:\n- name: n\n  results: []\n---\n",
}
FAILS = {
    "a month of its own": "---\ndate: 2026-13-45\n---\n",
    "a key that is a number": "---\n1: x\n---\n",
    "a key that is yes": "---\nyes: x\n---\n",
    "tags that are no list": "---\ntags: 5\n---\n",
    "tags: false": "---\ntags: false\n---\n",
    "a field called self": "---\nself: x\n---\n",
    "an index without name": "---\nmodel-index:\n- results: []\n---\n",
    "an index that is text": "---\nmodel-index: x\n---\n",
    "results by hand": "---\neval_results: x\n---\n",
    "a list": "---\n- a\n---\n",
    "another block": "---\n---\n# Title\ntext: [\n---\n",
    "a block after a blank line": "\n---\na: [\n---\n",
    "an equals sign": "---\nx: =\n---\n",
}


@pytest.mark.parametrize("readme", LOADS.values(), ids=LOADS)
def test_cards_that_load(house: House, readme: str) -> None:
    ModelCard(readme)
    assert accepted(readme)
    assert validate(house, readme) == 200


@pytest.mark.parametrize("readme", FAILS.values(), ids=FAILS)
def test_cards_that_do_not(house: House, readme: str) -> None:
    with pytest.raises((ValueError, TypeError, yaml.YAMLError)):
        ModelCard(readme)
    assert validate(house, readme) == 400


LICENCES = {
    "mit": True, "CC-BY-4.0": True, "openrail++": True, "llama3.1": True, "other": True, "unknown": True, "gpl": True,
    "[mit, apache-2.0]": True, "null": True, "Apache-2.0 OR MIT": True, "LicenseRef-Hospital": True,
    "cc-by-5.0": False, "free": False, "mit licence": False, "1": False, "true": False, "{a: b}": False, '""': False,
    "[mit, cc-by-5.0]": False, "[[mit]]": False, "MIT OR " * 50 + "MIT": False,
}  # fmt: skip


@pytest.mark.parametrize(("licence", "exists"), LICENCES.items(), ids=[licence[:20] for licence in LICENCES])
def test_a_licence_that_does_not_exist_is_refused(house: House, licence: str, exists: bool) -> None:
    readme = f"---\nlicense: {licence}\n---\n# x\n"
    ModelCard(readme)
    assert accepted(readme) is exists
    assert validate(house, readme) == (200 if exists else 400)


def validate(house: House, readme: str) -> int:
    """Status of the address; a refusal says why."""
    body = {"content": readme, "repoType": "model"}
    answer = house.registry.request("POST", "/api/validate-yaml", json_body=body)
    assert (answer.status == 400) is bool(answer.json()["errors"])
    assert all(error["message"] for error in answer.json()["errors"])
    return answer.status


def test_a_character_beyond_unicode_is_a_fault_of_the_card() -> None:
    assert hub_cards.find_problem('---\na: "\\UFFFFFFFF"\n---\n', limit=32_000)


@pytest.mark.parametrize("start", ["---\n", "\n" * 20_000, "---" + "\r" * 20_000, "---\n" + "\n---x" * 5000])
def test_looking_for_the_block_takes_no_time(start: str) -> None:
    began = time.process_time()
    hub_cards.find_problem(start * 2 + "\n" * 20_000 + "--", limit=32_000)
    assert time.process_time() - began < 1.0
