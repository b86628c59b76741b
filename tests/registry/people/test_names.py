"""Names are ASCII, reachable, and never a path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.errors import UsageError
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.people import names
from embhub_registry.routes import ROUTES


@pytest.mark.parametrize("name", ["radboud", "a", "umc-utrecht", "site1"])
def test_good_namespaces(name: str) -> None:
    assert names.check_namespace(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "Radboud", "-a", "a--b", "a_b", "a.b", "a/b", "rаdboud", "ｒadboud", "a" * 60, "api", "metrics", "readyz"],
)
def test_bad_namespaces(name: str) -> None:
    with pytest.raises(UsageError):
        names.check_namespace(name)


def test_the_first_segment_of_no_address_can_be_a_namespace() -> None:
    for route in ROUTES:
        first = route.path.split("/")[1]
        if first and not first.startswith("{"):
            with pytest.raises(UsageError):
                names.check_namespace(first)


@given(st.text(max_size=40))
def test_a_path_that_is_taken_stays_inside(path: str) -> None:
    try:
        names.check_path(path)
    except RequestDeniedError:
        return
    assert path.isascii() and path.isprintable() and not path.startswith("/") and "\\" not in path
    assert all(part not in {"", ".", ".."} for part in path.split("/"))


@given(st.text(max_size=40))
def test_a_ref_that_is_taken_is_no_commit_and_no_path(ref: str) -> None:
    try:
        names.check_ref(ref)
    except RequestDeniedError:
        return
    assert ref.isascii() and not names.is_commit(ref) and ".." not in ref and not ref.startswith(("/", "refs/"))


@pytest.mark.parametrize("name", ["John-Smith-1956-03-02", "mrn1234567", "scan_0012345678", "lisa-knee"])
def test_what_looks_like_a_patient_names_nothing(name: str) -> None:
    for check in (lambda: names.check_repository("radboud", name), lambda: names.check_ref(name)):
        with pytest.raises(RequestDeniedError) as caught:
            check()
        assert (caught.value.status, caught.value.rule) == (422, "personal-data")
        assert name not in caught.value.message


@pytest.mark.parametrize("name", ["prostate-cspca", "chest-effusion-v2", "t2w-512", "v1.0.0", "release-20261120"])
def test_what_names_something_else(name: str) -> None:
    assert names.check_repository("radboud", name) == f"radboud/{name}" and names.check_ref(name) == name
