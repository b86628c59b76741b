"""Login at an OpenID provider, which runs in a process of its own; whatever is not as it should be is refused."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.pages.account import login_pages
from embhub_registry.people.login import provider_metadata
from embhub_registry.storage import configuration
from tests.support import wicked_provider
from tests.support.databases import looking_into
from tests.support.people import SESSION, Person
from tests.support.servers import _OPENER, RunningRegistry, environment, free_port, running_registry

FLOW = "__Host-embhub-flow"
GROUPS = "radiology=radboud:publisher, ethics board=radboud:approver, guests=lumc:reader"


@contextmanager
def process(*arguments: str, url: str) -> Iterator[str]:
    started = subprocess.Popen([sys.executable, "-m", *arguments], env=environment(), stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                ask("GET", f"{url}/.well-known/openid-configuration")
                break
            except urllib.error.URLError:
                assert started.poll() is None
                time.sleep(0.1)
        yield url
    finally:
        started.terminate()
        started.wait()


def ask(method: str, url: str, body: bytes | None = None, **headers: str) -> HTTPResponse:
    try:
        found: HTTPResponse = _OPENER.open(urllib.request.Request(url, body, headers, method=method), timeout=30)
    except urllib.error.HTTPError as error:
        if error.code not in (302, 303):
            raise
        return error  # type: ignore[return-value]  # an answer
    return found


def use_provider(registry: RunningRegistry, issuer: str, folder: Path) -> None:
    file = folder / "client.secret"
    file.write_text(wicked_provider.SECRET + "\n")
    with registry.opened() as opened:
        for name, value in {"issuer": issuer, "client_id": wicked_provider.CLIENT, "secret_file": str(file),
                            "groups": GROUPS}.items():  # fmt: skip
            configuration.write(opened, f"oidc.{name}", value)
        configuration.write(opened, "outgoing.hosts", "127.0.0.1")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningRegistry, str]]:
    folder = tmp_path_factory.mktemp("provider")
    port = free_port()
    with running_registry(folder) as registry, process(
        "tests.support.wicked_provider", str(port), url=f"http://127.0.0.1:{port}"
    ) as url:  # fmt: skip
        use_provider(registry, url, folder)
        yield registry, url


BEGUN: list[str | None] = []
"""Logins begun since the server started: it allows sixty at once from one address, and a quick machine begins more."""


@pytest.fixture
def registry(served: tuple[RunningRegistry, str]) -> RunningRegistry:
    if len(BEGUN) > 20:
        served[0].stop()
        served[0].start()
        BEGUN.clear()
    return served[0]


def tell(served: tuple[RunningRegistry, str], **said: Any) -> None:
    ask("PUT", f"{served[1]}/_next", json.dumps(said).encode())


def onward(page: str) -> str:
    """Where a page leads by itself: its button and its refresh agree."""
    button = re.search(r'id="onward" href="([^"]*)"', page)
    refresh = re.search(r'http-equiv="refresh" content="0;url=([^"]*)"', page)
    assert button and refresh and button[1] == refresh[1]
    return html.unescape(button[1])


def start(person: Person, *, where: str | None = None) -> str:
    """Press the button, having come from `where`; returns where the page leads."""
    BEGUN.append(where)
    if where is None:
        person.open("/login")
        return onward(person.press("/login/provider"))
    person.open(f"/login?{urlencode({'next': where})}")
    return onward(person.press("/login/provider", next=where))  # as a form could say it that no page of ours made


def log_in(person: Person, *, status: int = 200, where: str | None = None) -> str:
    """By the provider, as a browser does: what it sends back comes without the Strict cookies."""
    back = str(ask("GET", start(person, where=where)).headers["location"])
    return come_back(person, back, status=status)


def come_back(person: Person, back: str, *, status: int = 200) -> str:
    kept = {name: value for name, value in person.cookies.items() if name != SESSION}
    lax = Person(person.registry, cookies={name: value for name, value in kept.items() if name.endswith("flow")})
    page = lax.open(back.removeprefix(person.registry.url), status=status)
    person.cookies = lax.cookies if SESSION in lax.cookies else person.cookies | lax.cookies
    return page


def roles(registry: RunningRegistry, user: str) -> dict[str, str]:
    return next(u["memberships"] for u in registry.ask("user", "list")["users"] if u["name"] == user)


def test_roles_follow_the_groups_at_each_login(served: tuple[RunningRegistry, str], registry: RunningRegistry) -> None:
    who = {"sub": "s-anna", "preferred_username": "Anna.Smit@example.org"}
    person = Person(registry)
    tell(served, claims={**who, "groups": ["radiology", "everybody"]})
    assert "You are logged in" in log_in(person) and SESSION in person.cookies
    person.open("/account")
    assert "Logged in as anna.smit: publisher in radboud." in person.text()
    assert set(person.cookies) == {SESSION}
    tell(served, claims={**who, "groups": ["ethics board", "guests"]})
    log_in(Person(registry))
    assert roles(registry, "anna.smit") == {"radboud": "approver", "lumc": "reader"}
    tell(served, claims={**who, "groups": ["guests"]})
    log_in(Person(registry))
    assert roles(registry, "anna.smit") == {"lumc": "reader"}
    person.open("/account")
    assert "reader in lumc" in person.text()
    token = registry.ask("token", "new", "anna.smit")["token"]
    assert registry.get("/api/whoami-v2", token=token).status == 200
    tell(served, claims={**who, "groups": ["everybody"]})
    assert "None of your groups" in log_in(Person(registry), status=403)
    assert roles(registry, "anna.smit") == {} and "Log out" not in person.open("/")
    assert registry.get("/api/whoami-v2", token=token).status == 401, "an account without a role speaks for nobody"
    tell(served, claims={**who, "groups": ["radiology"]})
    log_in(person)
    assert roles(registry, "anna.smit") == {"radboud": "publisher"}
    assert registry.get("/api/whoami-v2", token=token).status == 401, "a token from before does not come back"


def test_who_has_no_group_here_gets_no_account(served: tuple[RunningRegistry, str], registry: RunningRegistry) -> None:
    before = len(registry.ask("user", "list")["users"])
    for groups in (["everybody"], [], None, "radiology", {"radiology": 1}, [["radiology"]]):
        tell(served, claims={"sub": "s-nobody", "groups": groups})
        person = Person(registry)
        assert "None of your groups" in log_in(person, status=403) and SESSION not in person.cookies
    assert len(registry.ask("user", "list")["users"]) == before


def test_an_account_of_the_provider_has_no_second_way_in(
    served: tuple[RunningRegistry, str], registry: RunningRegistry
) -> None:
    """Groups are read at the provider alone: a passkey or an app would outlast what the organisation takes away."""
    tell(served, claims={"sub": "s-dora", "preferred_username": "dora", "groups": ["guests"]})
    dora = Person(registry)
    log_in(dora)
    page = dora.open("/account/login")
    assert "Add a passkey" not in page and "Set up an app" not in page
    token = {"form_token": dora.form("/account/logout/everywhere")["form_token"]}
    for path in ("passkey", "passkey/answer", "totp", "totp/answer", "recovery-codes"):
        assert dora._send("POST", f"/account/login/{path}", token).status == 409, path
    registry.add_user("eva", namespace="lumc")
    eva = Person(registry)
    eva.use_link("eva")
    eva.set_up_app()
    with looking_into(registry.folder) as db:  # from before this rule
        db.execute(
            "INSERT INTO identity (issuer, subject, user_id, created)"
            " SELECT ?, 's-eva', id, created FROM user WHERE name = 'eva'", (served[1],)
        )  # fmt: skip
    assert "logs in at its organisation" in Person(registry).log_in("eva", eva.code(later=1), status=403)


def test_a_role_goes_with_its_rule(served: tuple[RunningRegistry, str], registry: RunningRegistry) -> None:
    tell(served, claims={"sub": "s-finn", "preferred_username": "finn", "groups": ["radiology", "guests"]})
    log_in(Person(registry))
    registry.run("user", "join", "finn", "--namespace", "own-lab", "--role", "reader")
    assert roles(registry, "finn") == {"radboud": "publisher", "lumc": "reader", "own-lab": "reader"}
    with registry.opened() as opened:
        configuration.write(opened, "oidc.groups", "guests=lumc:reader")
    try:
        log_in(Person(registry))
        assert roles(registry, "finn") == {"lumc": "reader", "own-lab": "reader"}, "what the operator gave stays"
    finally:
        with registry.opened() as opened:
            configuration.write(opened, "oidc.groups", GROUPS)


def test_single_sign_on_is_no_fresh_proof(served: tuple[RunningRegistry, str], registry: RunningRegistry) -> None:
    who = {"sub": "s-gijs", "preferred_username": "gijs", "groups": ["radiology"]}
    for said in (int(time.time()) - 86_400, None, "now", -1, 1e300):
        tell(served, claims={**who, "auth_time": said})
        gijs = Person(registry)
        log_in(gijs)
        gijs.open("/account")
        assert "/login?next=" in str(
            gijs.send("/account/tokens", purpose="laptop", scope="read", days="30").header("location")
        ), said
    tell(served, claims=who)
    before = gijs.cookies[SESSION]
    log_in(gijs)
    gijs.open("/account")
    assert gijs.send("/account/tokens", purpose="laptop", scope="read", days="30").status == 200
    old = Person(registry, cookies={SESSION: before})
    assert "<h1>Log in</h1>" in old.open("/account"), "the session that was confirmed has ended"


def test_a_provider_that_hangs_holds_no_more_than_a_few_threads() -> None:
    async def crowd() -> list[object]:
        gate = asyncio.Event()
        loop = asyncio.get_running_loop()

        def hang() -> None:
            asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(10)

        tasks = [asyncio.create_task(login_pages._ask_provider(hang)) for _ in range(20)]
        await asyncio.sleep(0.1)
        gate.set()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    found = asyncio.run(crowd())
    refused = [one for one in found if isinstance(one, RequestDeniedError)]
    assert {one.status for one in refused} == {503} and len(refused) == 12 and found.count(None) == 8


def test_a_name_is_never_joined_to_an_account_that_exists(
    served: tuple[RunningRegistry, str], registry: RunningRegistry
) -> None:
    registry.add_user("boss", namespace="registry", role="admin")
    tell(served, claims={"sub": "s-thief", "preferred_username": "boss", "groups": ["guests"]})
    person = Person(registry)
    log_in(person)
    person.open("/account")
    assert "Logged in as boss-2: reader in lumc." in person.text()


@pytest.mark.parametrize(
    "said",
    [
        {"claims": {"iss": "https://evil.example"}},
        {"claims": {"iss": "http://127.0.0.1:1"}},
        {"claims": {"aud": "somebody-else"}},
        {"claims": {"aud": [wicked_provider.CLIENT, "somebody-else"]}},
        {"claims": {"azp": "somebody-else"}},
        {"claims": {"nonce": "another"}},
        {"claims": {"nonce": None}},
        {"claims": {"exp": 1_700_000_000}},
        {"claims": {"exp": None}},
        {"claims": {"iat": 99_999_999_999}},
        {"claims": {"sub": None}},
        {"claims": {"sub": ""}},
        {"signed": "none"},
        {"signed": "other"},
        {"signed": "hmac"},
        {"state": "another"},
        {"answer": {"iss": "https://evil.example"}},
        {"answer": {"code": "never-given"}},
    ],
    ids=json.dumps,
)
def test_what_is_not_as_it_should_be_is_refused(
    served: tuple[RunningRegistry, str], registry: RunningRegistry, said: dict[str, Any]
) -> None:
    good = {"sub": "s-good", "groups": ["guests"]}
    tell(served, **{**said, "claims": {**good, **said.get("claims", {})}})
    person = Person(registry)
    assert "login at the provider failed" in log_in(person, status=403).lower()
    assert SESSION not in person.cookies


def test_an_answer_counts_once_and_in_its_own_browser(
    served: tuple[RunningRegistry, str], registry: RunningRegistry
) -> None:
    tell(served, claims={"sub": "s-once", "groups": ["guests"]})
    victim, thief = Person(registry), Person(registry)
    back = str(ask("GET", start(victim)).headers["location"])
    start(thief)
    assert "does not belong to this browser" in come_back(thief, back, status=403)
    assert "this browser did not begin it" in come_back(Person(registry), back, status=403)
    flow = dict(victim.cookies)
    come_back(victim, back)
    assert SESSION in victim.cookies
    assert "came twice" in come_back(Person(registry, cookies=flow), back, status=403)
    query = parse_qs(urlsplit(back).query)
    again = Person(registry)
    state = parse_qs(urlsplit(start(again)).query)["state"][0]
    replayed = f"/login/provider/callback?{urlencode({'code': query['code'][0], 'state': state})}"
    assert "does not accept the code" in come_back(again, replayed, status=403), "the provider gave it once"


def test_a_provider_with_another_name_is_not_used(
    served: tuple[RunningRegistry, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(provider_metadata, "CACHE", provider_metadata.ProviderCache(lambda: clock[0]))
    tell(served, issuer_in_metadata="https://evil.example")
    for _ in range(2):
        with pytest.raises(RequestDeniedError, match="names another issuer"):
            provider_metadata.metadata(served[1], allowed=("127.0.0.1",))
    tell(served)
    with pytest.raises(RequestDeniedError, match="names another issuer"):
        provider_metadata.metadata(served[1], allowed=("127.0.0.1",))
    clock[0] += 31
    found = provider_metadata.metadata(served[1], allowed=("127.0.0.1",))
    assert found["issuer"] == served[1], "that it was refused is kept for half a minute, the document is not"


def test_confirming_needs_the_same_person_asked_anew(
    served: tuple[RunningRegistry, str], registry: RunningRegistry
) -> None:
    who = {"sub": "s-again", "groups": ["guests"]}
    tell(served, claims=who)
    person = Person(registry)
    log_in(person)
    query = parse_qs(urlsplit(start(person)).query)
    assert query["prompt"] == ["login"] and query["max_age"] == ["0"]
    for wrong, words in (
        ({**who, "auth_time": int(time.time()) - 3600}, "did not ask again"),
        ({**who, "auth_time": None}, "did not ask again"),
        ({**who, "sub": "s-other"}, "names somebody else"),
    ):
        tell(served, claims=wrong)
        assert words in log_in(person, status=403)
    tell(served, claims=who)
    assert "You are logged in" in log_in(person)


@pytest.mark.parametrize(
    ("where", "lands"),
    [
        (None, "/account"),
        ("/?q=prostate&sort=epsilon", "/?q=prostate&sort=epsilon"),
        ("/account/access/ask?repository=radboud/prostate", "/account/access/ask?repository=radboud/prostate"),
        ("/login/device?code=ABCD-EFGH", "/login/device?code=ABCD-EFGH"),
        ("/" + "a" * 999, "/" + "a" * 999),
        *((evil, "/account") for evil in ("//evil.example", "/\\evil.example", "/\t/evil.example", "/.//evil.example")),
        *((evil, "/account") for evil in ("https://evil.example", "//[", "/" + "ä" * 200)),
    ],
)
def test_a_login_leads_back_to_where_it_was_begun(
    served: tuple[RunningRegistry, str], registry: RunningRegistry, where: str | None, lands: str
) -> None:
    tell(served, claims={"sub": "s-back", "preferred_username": "berta", "groups": ["guests"]})
    person = Person(registry)
    assert onward(log_in(person, where=where)) == lands
    assert set(person.cookies) == {SESSION}


def test_nobody_changes_where_a_login_leads_while_it_is_under_way(
    served: tuple[RunningRegistry, str], registry: RunningRegistry
) -> None:
    """Neither the provider's answer, nor a cookie that was changed: it is the login that was begun, or none."""
    tell(served, claims={"sub": "s-back", "groups": ["guests"]}, answer={"next": "//evil.example"})
    person = Person(registry)
    assert onward(log_in(person, where="/trust")) == "/trust"
    changed = Person(registry)
    back = str(ask("GET", start(changed, where="/trust")).headers["location"])
    secret, _, path = changed.cookies[FLOW].partition(".")
    assert base64.urlsafe_b64decode(path + "==").decode() == "/trust"
    for other in (b"/account", b"//evil.example", b"\xff"):
        changed.cookies[FLOW] = f"{secret}.{base64.urlsafe_b64encode(other).decode().rstrip('=')}"
        assert "does not belong to this browser" in come_back(changed, back, status=403)
        changed.cookies[FLOW] = f"{secret}.{path}"
    assert onward(come_back(changed, back)) == "/trust"


def test_a_refused_login_can_be_repeated_for_the_same_page(
    served: tuple[RunningRegistry, str], registry: RunningRegistry
) -> None:
    tell(served, claims={"sub": "s-nobody", "groups": ["everybody"]})
    page = log_in(Person(registry), status=403, where="/radboud/prostate")
    assert 'href="/login?next=%2Fradboud%2Fprostate">To the login page' in page


@pytest.mark.thorough
def test_a_well_known_provider_works(tmp_path: Path) -> None:
    port = free_port()
    user = json.dumps({"sub": "s-mock", "preferred_username": "mia", "groups": ["radiology"]})
    with running_registry(tmp_path) as registry, process(
        "oidc_provider_mock", "--port", str(port), "--require-nonce", "--user-claims", user,
        url=f"http://127.0.0.1:{port}",
    ) as url:  # fmt: skip
        use_provider(registry, url, tmp_path)
        person = Person(registry)
        answer = ask("POST", start(person), urlencode({"sub": "s-mock"}).encode())
        come_back(person, str(answer.headers["location"]))
        person.open("/account")
        assert "Logged in as mia: publisher in radboud." in person.text()
