"""Classes of `embhub.formats.immutable` behave as the standard decorator makes them: each rule is tried on both."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable
from copy import deepcopy
from dataclasses import FrozenInstanceError, asdict, field, replace
from functools import cached_property
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.formats import immutable
from embhub.release.policy import Demand


def make(decorate: Callable[..., Any]) -> Any:
    """One class by each decorator, with every kind of field that is allowed."""

    @decorate(frozen=True)
    class Probe:
        """Nothing."""

        name: str
        count: int = 1
        hidden: str = field(default="secret", repr=False)
        beside: Any = field(default=None, compare=False)
        members: list[int] = field(default_factory=list)

        @cached_property
        def doubled(self) -> int:
            return self.count * 2

    return Probe


OURS, STANDARD = make(immutable.dataclass), make(dataclasses.dataclass)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "name": st.text(max_size=3), "count": st.integers(0, 2), "hidden": st.text(max_size=1), "beside": st.integers(0, 1),
    "members": st.tuples(), "unknown": st.none(),
}  # fmt: skip
CALLS = st.tuples(
    st.lists(st.integers(0, 2), max_size=6).map(tuple),
    st.fixed_dictionaries({}, optional=VALUES),
)


def call(cls: Any, arguments: tuple[tuple[Any, ...], dict[str, Any]]) -> Any:
    """An instance, or TypeError where the call is refused."""
    try:
        return cls(*arguments[0], **arguments[1])
    except TypeError:
        return TypeError


@given(first=CALLS, second=CALLS)
def test_calls_comparisons_and_texts_are_those_of_the_standard_decorator(first: Any, second: Any) -> None:
    ours, standard = [call(OURS, one) for one in (first, second)], [call(STANDARD, one) for one in (first, second)]
    assert [one is TypeError for one in ours] == [one is TypeError for one in standard]
    assert (ours[0] == ours[1]) == (standard[0] == standard[1])
    for mine, other in zip(ours, standard, strict=True):
        if mine is not TypeError:
            assert repr(mine) == repr(other)
            assert asdict(mine) == asdict(other)
            assert vars(mine) == vars(other)
            assert asdict(replace(mine, count=7)) == asdict(replace(other, count=7))
            assert deepcopy(mine) == mine
            assert mine != other, "another class"


@pytest.mark.parametrize("cls", [OURS, STANDARD])
def test_nothing_is_assigned_or_deleted(cls: Any) -> None:
    probe = cls("a", members=())
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'name'"):
        probe.name = "b"
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'new'"):
        probe.new = "b"
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'name'"):
        del probe.name
    assert probe.doubled == 2
    assert hash(probe) == hash(cls("a", members=(), beside=3)), "what is not compared does not count"
    with pytest.raises(TypeError, match="unhashable"):
        hash(cls("a", members=[]))


def test_each_instance_has_its_own_default_list() -> None:
    assert OURS("a").members is not OURS("a").members


def test_instances_travel_to_other_processes() -> None:
    demand = Demand("epsilon", 4.0)
    assert pickle.loads(pickle.dumps(demand)) == demand


def test_what_is_not_kept_to_is_refused() -> None:
    with pytest.raises(TypeError, match="only frozen"):
        immutable.dataclass(frozen=False)


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "__post_init__": ({"name": str}, {"__post_init__": lambda self: None}),
    "own __setattr__": ({"name": str}, {"__setattr__": object.__setattr__}),
    "own __delattr__": ({"name": str}, {"__delattr__": object.__delattr__}),
    "__slots__": ({"name": str}, {"__slots__": ("name",)}),
    "InitVar": ({"name": str, "other": dataclasses.InitVar[int]}, {}),
    "keyword only": ({"name": str}, {"name": field(kw_only=True)}),
    "not in __init__": ({"name": str}, {"name": field(default="a", init=False)}),
    "hash=True": ({"name": str}, {"name": field(hash=True, compare=False)}),
    "hash=False": ({"name": str}, {"name": field(hash=False)}),
    "default before none": ({"name": str, "other": int}, {"name": "a"}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_classes_that_need_more_are_refused(case: str) -> None:
    annotations, body = REFUSED[case]
    made = type("Probe", (), {"__annotations__": annotations, "__module__": __name__, **body})
    with pytest.raises(TypeError, match="needs the standard decorator"):
        immutable.dataclass(frozen=True)(made)


def test_a_class_variable_is_no_field() -> None:
    made: Any = type("Probe", (), {"__annotations__": {"name": str, "kind": ClassVar[str]}, "kind": "k"})
    assert dataclasses.asdict(immutable.dataclass(frozen=True)(made)("a")) == {"name": "a"}


def test_a_class_that_says_it_has_no_hash_has_none() -> None:
    made: Any = type("Probe", (), {"__annotations__": {"name": str}, "__hash__": None})
    with pytest.raises(TypeError, match="unhashable"):
        hash(immutable.dataclass(frozen=True)(made)("a"))


def test_own_methods_are_kept() -> None:
    @immutable.dataclass(frozen=True)
    class Named:
        """Nothing."""

        name: str

        def __repr__(self) -> str:
            return "mine"

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Named)

    assert repr(Named("a")) == "mine"
    assert Named("a") == Named("b")
