"""Logging in by a real browser: Chromium with a virtual authenticator (CDP), forms, axe and narrow screens.

WebAuthn takes no address for a name, so that the pages are opened as `localhost`.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from typing import Any

import pyotp
import pytest

from tests.registry.pages.test_web_browser import browser
from tests.support import browsers
from tests.support.browsers import follow
from tests.support.servers import RunningRegistry, running_registry

__all__ = ["browser"]  # a fixture


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("people")) as made:
        made.add_user("anna", namespace="radboud")
        made.add_user("lea", namespace="lumc", role="reader")
        yield made


@pytest.fixture
def tab(registry: RunningRegistry, browser: Any) -> Iterator[Any]:
    """A tab of a fresh browser profile; what the console says, or a policy blocks, fails the test."""
    said: list[str] = []
    page = browsers.new_page(browser, said, base_url=registry.url.replace("127.0.0.1", "localhost"))
    yield page
    page.context.close()
    assert [line for line in said if "the server responded with a status of" not in line] == []


@pytest.fixture
def authenticator(tab: Any) -> Any:
    """A virtual authenticator of the tab: CTAP 2.1, discoverable keys, its owner verified."""
    client = tab.context.new_cdp_session(tab)
    client.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "ctap2Version": "ctap2_1", "transport": "internal", "hasResidentKey": True,
               "hasUserVerification": True, "isUserVerified": True, "automaticPresenceSimulation": True}  # fmt: skip
    identity = client.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]

    def ask(command: str, **fields: Any) -> Any:
        return client.send(f"WebAuthn.{command}", {"authenticatorId": identity, **fields})

    return ask


def use_link(tab: Any, registry: RunningRegistry, user: str = "anna") -> None:
    browsers.log_in_by_link(tab, registry.ask("user", "login-link", user)["link"])
    assert tab.locator("h1").inner_text() == "How you log in"


def add_passkey(tab: Any, name: str) -> None:
    tab.goto("/account/login")
    follow(tab.get_by_role("button", name="Add a passkey"))
    tab.get_by_label("Name of the passkey").fill(name)
    follow(tab.get_by_role("button", name="Add a passkey"))


def use_passkey(tab: Any) -> None:
    tab.goto("/login")
    follow(tab.get_by_role("button", name="Use a passkey"))
    follow(tab.get_by_role("button", name="Use a passkey"))


def test_a_passkey_is_made_and_logs_in(tab: Any, registry: RunningRegistry, authenticator: Any) -> None:
    use_link(tab, registry)
    add_passkey(tab, "my laptop")
    assert "my laptop" in tab.locator("main").inner_text()
    [held] = authenticator("getCredentials")["credentials"]
    assert held["rpId"] == "localhost" and held["isResidentCredential"]
    cookies = {cookie["name"]: cookie for cookie in tab.context.cookies()}
    session = cookies["__Host-embhub-session"]
    assert session["secure"] and session["httpOnly"] and session["sameSite"] == "Strict" and session["path"] == "/"
    assert "__Host-embhub-visit" not in cookies
    follow(tab.get_by_role("button", name="Log out", exact=True))
    assert tab.get_by_role("link", name="Log in").count() == 1
    use_passkey(tab)
    tab.wait_for_url("**/account")
    assert "Logged in as anna" in tab.locator("main").inner_text()
    assert tab.context.cookies()[0]["value"] != session["value"]


@pytest.mark.thorough
def test_a_passkey_of_nobody_and_one_that_was_copied(tab: Any, registry: RunningRegistry, authenticator: Any) -> None:
    registry.add_user("bob", namespace="radboud")
    use_link(tab, registry, "bob")
    add_passkey(tab, "key")
    follow(tab.get_by_role("button", name="Log out", exact=True))
    [held] = authenticator("getCredentials")["credentials"]
    use_passkey(tab)
    tab.wait_for_url("**/account")
    follow(tab.get_by_role("button", name="Log out", exact=True))
    authenticator("clearCredentials")  # a copy of the key whose count did not go on
    copied = {k: v for k, v in held.items() if k in ("credentialId", "rpId", "privateKey", "userHandle")}
    authenticator("addCredential", credential={**copied, "isResidentCredential": True, "signCount": 0})
    use_passkey(tab)
    tab.wait_for_url("**/login/passkey/answer")
    assert "did not verify" in tab.get_by_role("alert").inner_text()
    authenticator("clearCredentials")
    other = {**copied, "credentialId": "AAAAAAAAAAAAAAAAAAAAAA==", "isResidentCredential": True, "signCount": 9}
    authenticator("addCredential", credential=other)
    use_passkey(tab)
    tab.wait_for_url("**/login/passkey/answer")
    assert "not registered here" in tab.get_by_role("alert").inner_text()
    assert "__Host-embhub-session" not in {cookie["name"] for cookie in tab.context.cookies()}


@pytest.mark.thorough
def test_without_javascript_a_person_sets_up_an_app_and_makes_a_token(browser: Any, registry: RunningRegistry) -> None:
    registry.add_user("cas", namespace="radboud")
    context = browser.new_context(base_url=registry.url, java_script_enabled=False)
    tab = context.new_page()
    use_link(tab, registry, "cas")
    follow(tab.get_by_role("button", name="Set up an app"))
    assert tab.locator("figure svg path").count() == 1
    secret = tab.locator("figcaption code").inner_text().replace(" ", "")
    tab.get_by_label("Six digits").fill(pyotp.TOTP(secret).now())
    follow(tab.get_by_role("button", name="Set up"))
    codes = tab.locator("pre code").inner_text().split()
    follow(tab.get_by_role("link", name="I have kept them"))
    follow(tab.get_by_role("button", name="Log out", exact=True))
    follow(tab.get_by_role("link", name="Log in"))
    tab.get_by_label("Account name").fill("cas")
    tab.get_by_label("Code, or a recovery code").fill(codes[0])
    begun = tab.url
    follow(tab.get_by_role("button", name="Log in", exact=True))
    assert begun == f"{registry.url}/login?next=%2F" and tab.url == f"{registry.url}/"
    follow(tab.get_by_role("link", name="cas", exact=True))
    tab.get_by_label("What it is for").fill("notebook")
    follow(tab.get_by_role("button", name="Make a token"))
    assert tab.locator("pre code").inner_text().startswith("hf_emb_")
    context.close()


def visit(tab: Any, registry: RunningRegistry) -> Iterator[str]:
    """Every page with a form, one after the other; yields its name."""
    tab.goto("/login")
    yield "login"
    link = registry.ask("user", "login-link", "anna")["link"].removeprefix(registry.url)
    tab.goto(link)
    yield "login-link"
    follow(tab.get_by_role("button", name="Log in with this link"))
    yield "login-methods"
    follow(tab.get_by_role("button", name=re.compile("Set up an(other)? app")))
    yield "totp"
    tab.get_by_label("Six digits").fill(pyotp.TOTP(tab.locator("figcaption code").inner_text().replace(" ", "")).now())
    follow(tab.get_by_role("button", name="Set up"))
    yield "recovery-codes"
    tab.goto("/account/login")
    yield "login-methods-with-app"
    follow(tab.get_by_role("button", name="Add a passkey"))
    yield "passkey"
    tab.goto("/account")
    tab.get_by_label("What it is for").fill("training server")
    follow(tab.get_by_role("button", name="Make a token"))
    yield "token-made"
    tab.goto("/account")
    yield "account"
    tab.goto("/login")
    yield "confirm"
    tab.goto("/login/device")
    yield "device-code"
    asked = registry.request(
        "POST", "/embhub/v1/device/code", json_body={"client": "embhub on node7", "scope": "publish"}
    )
    tab.goto(f"/login/device?code={asked.json()['user_code']}")
    yield "device"
    follow(tab.get_by_role("button", name="Approve"))
    yield "device-done"
    tab.goto("/login/device?code=BCDFGHJK")
    yield "device-unknown"
    token = registry.add_user(f"keeper{time.time_ns()}", namespace="radboud")
    name = "gated-" + "".join(random.choices("abcdefgh", k=8))
    for method, path, body in (
        ("POST", "/api/repos/create", {"name": name}),
        ("PUT", f"/api/models/radboud/{name}/settings", {"gated": "manual"}),
        ("PUT", f"/embhub/v1/terms/radboud/{name}", {"text": "For research only."}),
    ):
        assert registry.request(method, path, token=token, json_body=body).status == 200
    browsers.log_in_by_link(tab, registry.ask("user", "login-link", "lea")["link"])
    tab.goto(f"/account/access/ask?repository=radboud/{name}")
    yield "ask-access"
    tab.get_by_label("I accept these terms").check()
    follow(tab.get_by_role("button", name="Ask for access"))
    yield "access-own"
    browsers.log_in_by_link(tab, registry.ask("user", "login-link", "anna")["link"])
    tab.goto("/account/access")
    yield "access-waiting"
    tab.goto(f"/account/withdraw?repository=radboud/{name}")
    yield "withdraw"


@pytest.mark.thorough
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.thorough)])
def test_pages_with_forms_read_well_and_break_no_rule_of_axe(tab: Any, registry: RunningRegistry, scheme: str) -> None:
    tab.emulate_media(color_scheme=scheme)
    told = {}
    for name in visit(tab, registry):
        tab.set_viewport_size({"width": 320, "height": 900})
        assert browsers.width_of(tab) <= 320, name
        browsers.keep_pictures(tab, name, scheme=scheme)
        tab.set_viewport_size({"width": 1280, "height": 900})
        if rules := browsers.broken_rules(tab):
            told[name] = rules
    assert told == {}
