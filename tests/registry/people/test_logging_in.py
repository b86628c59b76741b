"""People log in by a link, a code or a recovery code; their forms and cookies are theirs alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from embhub_registry.people import auth
from embhub_registry.storage import configuration
from tests.support import pushes, releases
from tests.support.databases import looking_into
from tests.support.people import DEVICE, SESSION, Person
from tests.support.servers import RunningRegistry, run_here, running_registry

PRIVATE = "radboud/kept-private"
PAST = "2026-01-01T00:00:00.000Z"
NewPerson = Callable[..., Person]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("people")) as made:
        token = made.add_user("alice", namespace="radboud")
        made.add_user("lea", namespace="lumc", role="reader")
        made.add_key(releases.SITE, namespace="radboud")
        for name in (releases.REPOSITORY, PRIVATE):
            body = {"name": name.partition("/")[2], "private": name == PRIVATE}
            assert made.request("POST", "/api/repos/create", token=token, json_body=body).status == 200
            release = releases.make_release(repository=name, audited=False)
            assert pushes.commit(made, name, dict(release.files), token=token).status == 200
        yield made


@pytest.fixture
def person(registry: RunningRegistry) -> NewPerson:
    def make(user: str | None = None, *, role: str = "publisher") -> Person:
        found = Person(registry)
        if user is not None:
            registry.add_user(user, namespace="radboud", role=role)
            found.use_link(user)
        return found

    return make


def rows(registry: RunningRegistry, query: str, *values: Any) -> list[Any]:
    with looking_into(registry.folder) as db:
        return [tuple(row) for row in db.execute(query, values)]


def age(registry: RunningRegistry, user: str, **changes: str) -> None:
    """Move the times of somebody's sessions into the past."""
    with looking_into(registry.folder) as db:
        for column, value in changes.items():
            statement = f"UPDATE session SET {column} = ? WHERE user_id = (SELECT id FROM user WHERE name = ?)"
            db.execute(statement, (value, user))


def last_uses(registry: RunningRegistry, user: str) -> set[str]:
    query = "SELECT last_used FROM session WHERE user_id = (SELECT id FROM user WHERE name = ?)"
    return {last_used for (last_used,) in rows(registry, query, user)}


def events(registry: RunningRegistry, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (registry.folder / "audit.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def test_a_link_logs_in_once_and_needs_a_press(registry: RunningRegistry, person: NewPerson) -> None:
    registry.add_user("anna", namespace="radboud")
    path = registry.ask("user", "login-link", "anna")["link"].removeprefix(registry.url)
    first, second = person(), person()
    for _ in range(2):
        assert "logs you in once" in first.open(path)  # a mail program that looks at it uses nothing up
    second.open(path)
    first.press(path)
    assert "Set up a passkey or an authenticator app now" in first.text() and SESSION in first.cookies
    assert "was used already" in second.press(path, status=403)
    assert second.open(path, status=403) and SESSION not in second.cookies
    made = events(registry, "login")[-1]
    assert (made["actor"], made["method"]) == ("anna", "link")
    newer = registry.ask("user", "login-link", "anna")["link"]
    registry.ask("user", "login-link", "anna")
    assert "was used already" in person().open(newer.removeprefix(registry.url), status=403), "a newer one ends it"


def test_secrets_are_stored_as_digests_and_stand_in_no_log(registry: RunningRegistry, person: NewPerson) -> None:
    someone = person("secretive")
    codes = someone.set_up_app()
    secret = someone.cookies[SESSION]
    link = registry.ask("user", "login-link", "secretive")["link"].rpartition("/")[2]
    person().open(f"/login/link/{link}")
    assert len(secret) >= 43 and len(codes) == 10 and len(set(codes)) == 10
    assert rows(registry, "SELECT 1 FROM session WHERE digest = ?", auth.digest(secret))
    stored = b"".join(path.read_bytes() for path in registry.folder.rglob("*") if path.is_file())
    stored += registry.log.read_bytes()
    for hidden in (secret, someone.totp, link, link.removeprefix(auth.PREFIX), *codes):
        assert hidden.encode() not in stored and hidden.replace("-", "").encode() not in stored


def test_a_code_logs_in_and_counts_once(registry: RunningRegistry, person: NewPerson) -> None:
    someone = person("bea")
    codes = someone.set_up_app()
    used, before = someone.code(), someone.cookies[SESSION]
    someone.open("/login")
    assert "Confirm that it is you" in someone.page
    assert "do not match" in someone.press("/login/code", code=used, status=403), "it set up the app"
    someone.open("/login")
    next_code = someone.code(later=1)
    someone.press("/login/code", code=next_code)
    assert someone.cookies[SESSION] != before, "the cookie is another one"
    assert not person().open("/account").count("bea")
    old = Person(registry, cookies={SESSION: before})
    assert "Log in" in old.open("/account"), "the cookie from before is worth nothing"
    other = person()
    other.totp = someone.totp
    assert "do not match" in other.log_in("bea", next_code, status=403), "used already"
    assert "do not match" in other.log_in("alice", codes[0], status=403), "somebody else's"
    other.log_in("bea", codes[0].upper().replace("-", " "))
    assert "Logged in as bea" in other.text()
    assert "do not match" in person().log_in("bea", codes[0], status=403), "a recovery code counts once"
    assert events(registry, "recovery-code-used")[-1]["left"] == 9


def test_who_does_not_exist_is_answered_like_who_has_no_code(registry: RunningRegistry, person: NewPerson) -> None:
    nobody, lea = person(), person()
    answers = [someone.log_in(name, "123456", status=403) for someone, name in ((nobody, "no-such"), (lea, "lea"))]
    parts = [page.split("<main", 1)[1].replace(p.form("/login/code")["form_token"], "") for page, p in
             zip(answers, (nobody, lea), strict=True)]  # fmt: skip
    assert parts[0] == parts[1]


def test_codes_cannot_be_tried_fast(registry: RunningRegistry, person: NewPerson) -> None:
    someone = person("carl")
    codes = someone.set_up_app()
    far = {"X-Forwarded-For": "192.0.2.7"}
    thief = person()
    thief.open("/login")
    for _ in range(5):
        thief.press("/login/code", name="carl", code="000000", status=403, headers=far)
        thief.open("/login")
    thief.press("/login/code", name="carl", code=someone.code(later=1), status=429)
    assert "Too many requests" in thief.text()
    someone.open("/login")
    someone.press("/login/code", code=someone.code(later=1))
    assert SESSION in someone.cookies, "a stranger's tries do not keep the owner from confirming"
    other = person()
    other.log_in("carl", codes[0])
    assert "Logged in as carl" in other.text(), "a recovery code has too many digits to be guessed"
    padded = "000000" + "-" * 10
    assert "Too many requests" in thief.log_in("carl", padded, status=429)
    time.sleep(5.5)
    failed = [row for row in events(registry, "login-failed") if "carl" in row["reason"]]
    assert sum(row["times"] for row in failed) == 5 and {row["actor"] for row in failed} == {"anonymous"}


def test_wrong_codes_in_somebodys_name_lock_no_browser_out_that_logged_in_before(
    registry: RunningRegistry, person: NewPerson
) -> None:
    someone, far, thief = person("rita"), {"X-Forwarded-For": "192.0.2.9"}, person("thea")
    codes = someone.set_up_app()
    known = {DEVICE: someone.cookies[DEVICE]}
    for _ in range(5):
        thief.cookies = {DEVICE: thief.cookies[DEVICE]}
        thief.open("/login")
        thief.press("/login/code", name="rita", code="000000", status=403, headers=far)
    elsewhere = person()
    elsewhere.totp = someone.totp
    elsewhere.log_in("rita", someone.code(later=1), status=429)
    again = Person(registry, cookies=dict(known))
    again.log_in("rita", someone.code(later=1))
    assert "Logged in as rita" in again.text() and again.cookies[DEVICE] == known[DEVICE]
    guessing = Person(registry, cookies=dict(known))
    for _ in range(5):
        guessing.log_in("rita", "000000", status=403)
    guessing.log_in("rita", "000000", status=429)
    person().log_in("rita", codes[0])


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, {}),
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": ""}, {}),
        ({"Origin": "null", "Sec-Fetch-Site": ""}, {}),
        ({"Sec-Fetch-Site": "same-site"}, {}),
        ({"Origin": "", "Sec-Fetch-Site": ""}, {}),
        ({}, {"form_token": ""}),
        ({}, {"form_token": "x" * 43}),
    ],
)
def test_a_form_of_another_site_is_refused(
    registry: RunningRegistry, person: NewPerson, headers: dict[str, str], fields: dict[str, str]
) -> None:
    someone = SHARED.get("dora") or person("dora")
    SHARED["dora"] = someone
    someone.open("/account")
    sent = {"purpose": "x", "scope": "read", "days": "1", **fields}
    answer = someone.send("/account/tokens", headers=headers, **sent)
    assert answer.status == 403 and b"form" in answer.body
    assert not rows(registry, "SELECT 1 FROM token WHERE purpose = 'x'")
    visitor = person()
    visitor.open("/login")
    answer = visitor.send("/login/code", headers=headers, name="dora", code="1", **fields)
    assert answer.status == 403 and SESSION not in visitor.cookies


SHARED: dict[str, Any] = {}


def test_the_token_of_another_persons_form_is_refused(registry: RunningRegistry, person: NewPerson) -> None:
    one, two = person("eva"), person("frits")
    one.open("/account")
    two.open("/account")
    token = one.form("/account/tokens")["form_token"]
    answer = two.send("/account/tokens", form_token=token, purpose="stolen", scope="read", days="1")
    assert answer.status == 403 and not rows(registry, "SELECT 1 FROM token WHERE purpose = 'stolen'")


def test_a_change_of_rights_asks_again_after_five_minutes(registry: RunningRegistry, person: NewPerson) -> None:
    someone = person("greta")
    codes = someone.set_up_app()
    age(registry, "greta", confirmed=PAST)
    changing = {"/account": ["/account/tokens"], "/account/login": ["/account/login/totp", "/account/login/passkey",
                "/account/login/recovery-codes", "/account/login/totp/remove"]}  # fmt: skip
    for page, actions in changing.items():
        for action in actions:
            assert "first confirm that it is you" in (someone.open(page), someone.text())[1]
            answer = someone.send(action, purpose="late", scope="read", days="1")
            assert answer.status == 303 and str(answer.header("location")).startswith("/login?next=%2Faccount")
    assert not rows(registry, "SELECT 1 FROM token WHERE purpose = 'late'")
    someone.open("/login?next=/account")
    someone.press("/login/code", code=codes[3])
    assert someone.path == "/account"
    assert "shown once" in someone.press("/account/tokens", purpose="late", scope="read", days="1")


def test_sessions_end(registry: RunningRegistry, person: NewPerson) -> None:
    someone = person("hans")
    for column in ("last_used", "expires"):
        someone.use_link("hans")
        assert "Log out" in someone.open("/")
        age(registry, "hans", **{column: PAST})
        if "Log out" in someone.open("/"):
            # The server writes now and then when sessions were used: it has just written the request before.
            assert column == "last_used" and last_uses(registry, "hans") != {PAST}
            age(registry, "hans", last_used=PAST)
            assert "Log out" not in someone.open("/")
    someone.use_link("hans")
    registry.run("user", "disable", "hans")
    assert "Log out" not in someone.open("/")
    registry.run("user", "enable", "hans")
    other = Person(registry)
    someone.use_link("hans")
    other.use_link("hans")
    someone.open("/account/login")
    assert "Another browser, by login link" in someone.text()
    someone.press("/account/logout/everywhere")
    assert SESSION not in someone.cookies and "Log out" not in other.open("/")
    other.use_link("hans")
    kept = dict(other.cookies)
    other.open("/account")
    other.press("/account/logout")
    assert "Log out" not in Person(registry, cookies=kept).open("/"), "ended here, not only in the browser"
    other.use_link("hans")
    assert registry.ask("user", "logout", "hans")["sessions"] == 1
    assert {"logout", "logout-everywhere", "login-link-made"} <= {
        json.loads(line)["event"] for line in (registry.folder / "audit.jsonl").read_text().splitlines()
    }


def test_a_session_reads_and_changes_nothing_on_the_wire(registry: RunningRegistry, person: NewPerson) -> None:
    someone = person("ida")
    cookie = {"Cookie": f"{SESSION}={someone.cookies[SESSION]}"}
    assert registry.get(f"/{PRIVATE}", headers=cookie).status == 200
    assert registry.get(f"/{PRIVATE}").status == 404
    for method, path in (
        ("POST", "/api/repos/create"),
        ("POST", f"/embhub/v1/yank/{PRIVATE}"),
        ("PUT", f"/api/models/{PRIVATE}/settings"),
        ("DELETE", "/api/repos/delete"),
    ):
        answer = registry.request(method, path, headers=cookie, json_body={"name": "made-by-cookie"})
        assert answer.status in (401, 404), (method, path)
    twice = {"Cookie": f"{SESSION}=x; {SESSION}={someone.cookies[SESSION]}"}
    assert registry.get(f"/{PRIVATE}", headers=twice).status == 404, "one of two is a stranger's"


def test_no_page_of_one_is_shown_to_another(registry: RunningRegistry, person: NewPerson) -> None:
    one, two, nobody = person("jan"), person("kees"), person()
    for path in ("/", f"/{releases.REPOSITORY}", "/radboud", "/trust", "/no-such/thing"):
        status = 404 if "no-such" in path else 200
        for _ in range(2):
            assert ">jan<" in one.open(path, status=status)
            seen = two.open(path, status=status)
            assert ">kees<" in seen and ">jan<" not in seen
            seen = nobody.open(path, status=status)
            assert not [words for words in (">jan<", ">kees<", "Log out") if words in seen]
    answer = one._send("GET", f"/{releases.REPOSITORY}")
    assert "no-store" in str(answer.header("cache-control")) and "Cookie" in str(answer.header("vary"))
    assert registry.get(f"/{releases.REPOSITORY}", headers={"Accept": "text/html"}).header("vary") == "Accept, Cookie"


def test_a_person_makes_sees_and_revokes_tokens(registry: RunningRegistry, person: NewPerson) -> None:
    someone = person("lotte")
    someone.open("/account")
    made = someone.press("/account/tokens", purpose="training server", scope="publish", days="30")
    token = made.split("<code>hf_emb_", 1)[1].partition("<")[0]
    who = registry.get("/api/whoami-v2", token=f"hf_emb_{token}").json()
    assert who["name"] == "lotte"
    time.sleep(5.5)  # last uses are written now and then
    someone.open("/account")
    assert "training server" in someone.text() and f"hf_emb_{token}" not in someone.page
    assert "Last used just now" in someone.text()
    identity = rows(registry, "SELECT id FROM token WHERE purpose = 'training server'")[0][0]
    assert someone.send("/account/tokens/revoke", token="0" * 12).status == 404
    other = person("mies")
    other.open("/account")
    assert other.send("/account/tokens/revoke", token=identity).status == 404, "not hers"
    someone.open("/account")
    someone.press("/account/tokens/revoke", token=identity)
    assert registry.get("/api/whoami-v2", token=f"hf_emb_{token}").status == 401
    odd = ({"scope": "admin"}, {"days": "0"}, {"days": "367"}, {"days": "x"}, {"purpose": ""}, {"purpose": "é" * 61})
    for wrong in odd:
        someone.open("/account")
        fields = {"purpose": "wrong", "scope": "read", "days": "1", **wrong}
        assert someone.send("/account/tokens", headers=None, **fields).status == 400, wrong


def test_the_last_way_to_log_in_stays(registry: RunningRegistry, person: NewPerson) -> None:
    someone = person("nico")
    someone.set_up_app()
    someone.open("/account/login")
    assert "your last way" in someone.press("/account/login/totp/remove", status=409)


def test_a_login_leads_nowhere_else(registry: RunningRegistry, person: NewPerson) -> None:
    someone = person("otto")
    codes = someone.set_up_app()
    for number, there in enumerate(("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:x", "x")):
        visitor = person()
        visitor.open("/login")
        answer = visitor.send("/login/code", name="otto", code=codes[number], next=there)
        assert (answer.status, answer.header("location")) == (303, "/account"), there


def test_nobody_logs_in_by_plain_http_from_elsewhere(registry: RunningRegistry, person: NewPerson) -> None:
    with registry.opened() as opened:
        configuration.write(opened, "hosts.allowed", "hub.intranet")
    time.sleep(5.2)
    for path in ("/login", "/account/login"):
        answer = registry.get(path, headers={"Host": "hub.intranet", "Accept": "text/html"})
        assert answer.status in (403, 303) and not answer.cookies


def test_a_closed_registry_is_read_after_a_login_and_names_itself_to_nobody(
    registry: RunningRegistry, person: NewPerson
) -> None:
    someone = person("quinn")
    with registry.opened() as opened:
        configuration.write(opened, "read.anonymous", "no")
    try:
        assert "prostate" in someone.open("/") and someone.open(f"/{PRIVATE}")
        visitor = person()
        assert "Test hub" not in visitor.open("/login") and "Log in" in visitor.page
        assert 'href="/login?next=%2F%3Fq%3Dprostate"' in visitor.open("/?q=prostate", status=401)
        assert "<h1>Log in</h1>" in visitor.open("/login/device?code=BCDFGHJK")
        for path in ("/static/style.css", "/static/passkey.js", "/static/copy.js"):
            assert registry.get(path).status == 200
    finally:
        with registry.opened() as opened:
            configuration.write(opened, "read.anonymous", "yes")


def test_a_disabled_account_is_not_logged_in_again_by_an_old_cookie(
    registry: RunningRegistry, person: NewPerson
) -> None:
    someone = person("ruud")
    registry.run("user", "disable", "ruud")
    registry.run("user", "enable", "ruud")
    assert "Log out" not in someone.open("/")


def test_what_was_given_out_ends_with_a_disabled_account(registry: RunningRegistry, person: NewPerson) -> None:
    person("tess")
    link = registry.ask("user", "login-link", "tess")["link"].removeprefix(registry.url)
    registry.run("user", "disable", "tess")
    registry.run("user", "enable", "tess")
    person().open(link, status=403)


def test_no_cache_keeps_what_a_cookie_showed(registry: RunningRegistry, person: NewPerson) -> None:
    """HTTP caches know it of `Authorization` by themselves (RFC 9111 section 3.5), of cookies they do not."""
    someone = person("uma")
    for path in ("/?format=json", "/api/models?full=true", f"/api/models/{PRIVATE}", "/api/whoami-v2"):
        answer = someone._send("GET", path)
        said = str(answer.header("cache-control"))
        assert answer.status == 200 and ("private" in said or "no-store" in said), path
        assert "Cookie" in str(answer.header("vary")), path
        assert "private" not in str(registry.get(path).header("cache-control")), path


def test_a_body_that_no_page_sends_is_refused(registry: RunningRegistry, person: NewPerson) -> None:
    someone = person("vera")
    sent = {"Accept": "text/html", "Origin": registry.url, "Sec-Fetch-Site": "same-origin",
            "Cookie": f"{SESSION}={someone.cookies[SESSION]}", "Content-Type": "application/json"}  # fmt: skip
    answer = registry.request("POST", "/account/tokens", headers=sent, body=b'{"form_token": []}')
    assert answer.status == 403


def test_names_of_the_audit_log_are_nobodys(registry: RunningRegistry) -> None:
    for name in ("operator", "anonymous", "server", "shell"):
        done = registry.run("user", "add", name, "--namespace", "radboud", "--role", "reader", check=False)
        assert done.returncode == 2 and "reserved" in done.stderr, name


def test_a_restore_logs_everybody_out(registry: RunningRegistry, person: NewPerson, tmp_path: Path) -> None:
    person("saar")
    link = registry.ask("user", "login-link", "saar")["link"]
    registry.run("backup", "make", tmp_path / "backup.tar")
    restored = tmp_path / "restored"
    registry_restore = run_here(
        "--dir", restored, "backup", "restore", "--unauthenticated", tmp_path / "backup.tar", check=False
    )
    assert restored.exists(), registry_restore.stderr
    with looking_into(restored) as db:
        for table in ("session", "login_link", "login_attempt", "device_request"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0, table
    assert link


def test_a_stolen_database_gives_no_codes(registry: RunningRegistry, person: NewPerson, tmp_path: Path) -> None:
    someone = person("piet")
    someone.set_up_app()
    key = next(registry.folder.rglob("logins.key"))
    assert key.stat().st_mode & 0o777 == 0o600
    backup = tmp_path / "backup.tar"
    registry.run("backup", "make", backup)
    assert key.read_bytes() not in backup.read_bytes()
