"""A registry's origin: the host name of its address, which statements name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.trust.origin import origin_fault, origin_of


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("https://hub.example.org", "hub.example.org"),
        ("https://Hub.Example.ORG:8443", "hub.example.org"),
        ("http://hub.example.org./", "hub.example.org"),
        ("http://127.0.0.1:8000", "127.0.0.1"),
        ("http://[::1]:8000", "::1"),
        ("http://[2001:DB8:0:0::1]", "2001:db8::1"),
        ("http://localhost:8000/below", "localhost"),
    ],
)
def test_an_origin_is_the_host_name_without_port(address: str, origin: str) -> None:
    assert origin_of(address) == origin


@pytest.mark.parametrize(
    "address",
    ["", "hub.example.org", "https://", "https://:80", "https://a b", "https://hüb", "https://.", "http://[x"],
)
def test_an_address_without_host_name_has_no_origin(address: str) -> None:
    with pytest.raises(ValueError):  # urlsplit has words of its own
        origin_of(address)


@given(st.text(max_size=80))
def test_whatever_is_asked_an_origin_is_one_or_a_value_error(text: str) -> None:
    for address in (text, f"https://{text}"):
        try:
            origin = origin_of(address)
        except ValueError:
            continue
        assert origin_fault(origin) is None and origin == origin.lower()
