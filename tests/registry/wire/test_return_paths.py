"""Where a person goes on after a login: to a page of this registry, whatever the address they came by says.

An open redirect would let a link of this registry lead to a stranger's copy of it (CWE-601). Browsers read addresses
otherwise than Python does (WHATWG URL Standard): a backslash is a slash, and tabs and line ends are left out.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from embhub_registry.wire.return_paths import form_page, local_path
from tests.registry.pages.test_web_browser import browser

__all__ = ["browser"]  # a fixture

HOME, HERE = "/account", "https://hub.example.org"
PIECES = [
    "/", "//", "\\", "/\\", "..", ".", "evil.example", "@", ":", ":443", "https:", "javascript:alert(1)", "data:,",
    "%2f", "%2F%2F", "%5c", "%09", "%0d%0a", "%00", "\t", "\n", "\r", "\0", " ", "\u00a0", "\u2028", "\u202e", "\x7f",
    "\uff0f", "\u2215", "\ufeff", "\ud800", "[", "]", "[::1]", "?", "#", "&", "=", ";", "'", '"', "<", ">", "account",
    "radboud/prostate", "q=ä", "next=//evil.example", "‥", "。",
]  # fmt: skip
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=6)), max_size=8).map("".join)
ELSEWHERE = [
    "//evil.example", "///evil.example", "\\\\evil.example", "/\\evil.example", "\\/evil.example", "/\t/evil.example",
    "/\n/evil.example", "\t//evil.example", " //evil.example", "/\r\\evil.example", "https://evil.example/",
    "https:evil.example", "https:/evil.example", "javascript:alert(1)", "data:text/html,x", "evil.example",
    "@evil.example", ".evil.example", ":443", "", "//[", "//[::1", "/\u2028/evil.example", "/\0/evil.example",
    "/.//evil.example", "/..//evil.example", "/x/..//evil.example", "//%5cevil.example", "/account//evil.example",
    "/%2e//evil.example", "/.%2E/\\evil.example", "/" + "a" * 1000, "/" + "ä" * 200,
]  # fmt: skip
KEPT = [
    "/", "/account", "/?q=prostate&sort=epsilon", "/radboud/prostate-cspca", "/login/device?code=ABCD-EFGH",
    "/account/access/ask?repository=radboud/prostate", "/compare?with=a/b&with=c/d", "/%2f%2fevil.example",
    "/radboud/x/commit/0123456789abcdef?next=//evil.example", "/radboud/a..b/tree/v1.0",
]  # fmt: skip


@pytest.mark.parametrize("text", ELSEWHERE)
def test_what_could_lead_elsewhere_leads_home(text: str) -> None:
    assert local_path(text, otherwise=HOME) == HOME


@pytest.mark.parametrize("text", KEPT)
def test_pages_of_this_registry_are_kept_as_they_are(text: str) -> None:
    assert local_path(text, otherwise=HOME) == text


@settings(max_examples=2000)
@given(TEXTS)
@example("//[")
@example("/x?" + "é" * 200)
def test_no_text_leads_elsewhere(text: str) -> None:
    found = local_path(text, otherwise=HOME)
    parts = urlsplit(urljoin(HERE, found))
    assert (parts.scheme, parts.netloc) == ("https", "hub.example.org") and not parts.fragment
    path = found.partition("?")[0]
    assert path.startswith("/") and "//" not in path and not {".", ".."} & set(path.split("/"))
    assert found.isascii() and found.isprintable() and not set(found) & set("\\\"'<>; #") and len(found) <= 1000
    assert local_path(found, otherwise=HOME) == found, "it is asked for twice: in the page and with its form"


@settings(max_examples=500)
@given(st.from_regex(r"/[a-z0-9._/-]{0,40}(\?[a-z]{1,5}=\w{0,20})?", fullmatch=True))
def test_a_page_that_exists_is_found_again(text: str) -> None:
    path = text.partition("?")[0]
    plain = "//" not in path and not {".", ".."} & set(path.split("/"))
    assert local_path(text, otherwise=HOME) == (quote(text, safe="/?=&%+-._~@:,") if plain else HOME)


def sent(referer: str | None, *, method: str = "POST", path: str = "/account/tokens") -> Request:
    """A form as a browser sends it to hub.example.org."""
    headers = [(b"host", b"hub.example.org")] + ([(b"referer", referer.encode())] if referer is not None else [])
    return Request({"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers,
                    "scheme": "https", "server": ("127.0.0.1", 8642)})  # fmt: skip


def test_a_form_that_was_refused_leads_back_to_its_page_and_to_no_other_site() -> None:
    assert form_page(sent(f"{HERE}/account/review/abc?a=b")) == "/account/review/abc?a=b"
    for elsewhere in (
        None, "", "https://evil.example/account", "https://hub.example.org.evil.example/", "//evil.example/x",
        "https://hub.example.org@evil.example/", "https://[", f"{HERE}//evil.example", f"{HERE}/\\evil.example",
        "javascript:alert(1)", "/account",
    ):  # fmt: skip
        assert form_page(sent(elsewhere)) == "", elsewhere
    assert form_page(sent(f"{HERE}/account", method="GET")) == "", "nothing was sent"


@pytest.mark.thorough
def test_a_browser_reads_no_text_as_another_host(browser: Any) -> None:
    """The URL parser of a real browser, in a page of its own: origin and path of everything that is let through."""
    page = browser.new_context().new_page()
    page.set_content("<!doctype html><title>x</title>")
    read = "([paths, base]) => paths.map(path => { const u = new URL(path, base); return [u.origin, u.pathname]; })"
    passed = 0

    @settings(max_examples=60, deadline=None)
    @given(st.lists(TEXTS.map(lambda text: "/" + text), min_size=30, max_size=60))
    @example(ELSEWHERE + KEPT)
    def agree(texts: list[str]) -> None:
        nonlocal passed
        found = [local_path(text, otherwise=HOME) for text in texts]
        passed += sum(path != HOME for path in found)
        for path, (origin, pathname) in zip(found, page.evaluate(read, [found, HERE + "/login"]), strict=True):
            assert origin == HERE and pathname == path.partition("?")[0], path

    agree()
    page.context.close()
    assert passed > 100, "most of them were not simply sent home"
