"""Workload identity: a job's OIDC token, from a real provider, for a token of one repository for 15 minutes."""

from __future__ import annotations

import base64
import hmac
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from embhub.__main__ import main as embhub
from embhub.client.account import workload_login
from embhub.errors import RegistryError
from embhub.release.files import EMBEDDING
from embhub_registry.people.login import workloads
from tests.support import pushes, releases
from tests.support.databases import looking_into
from tests.support.people import Person
from tests.support.servers import Answer, RunningRegistry, environment, running_registry
from tests.support.sites import Site
from tests.support.sites import new_key as new_signing_key
from tests.support.workloads import BEARER, Provider, ci_provider, new_key

NAME, OTHER = "radboud/prostate-cspca", "radboud/other"
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with ci_provider() as made:
        yield made


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("workloads")) as made:
        alice = made.add_user("alice", namespace="radboud")
        made.run("setting", "set", "outgoing.hosts", "127.0.0.1")
        made.add_user("rob", namespace="radboud", role="reader")
        made.add_user("lea", namespace="lumc")
        made.add_key(releases.SITE, namespace="radboud")
        for name in (NAME, OTHER, "radboud/hidden"):
            assert pushes.create(made, name, token=alice).status == 200
        made.request("PUT", "/api/models/radboud/hidden/settings", token=alice, json_body={"private": True})
        add(made, provider, NAME)
        yield made


def add(registry: RunningRegistry, provider: Provider, name: str, *claims: str) -> dict[str, Any]:
    wanted = claims or ("repository_id=123456", "ref=refs/heads/main")
    words = [word for claim in wanted for word in ("--claim", claim)]
    return registry.ask("repo", "publisher", "add", name, "--issuer", provider.url, *words)


def exchange(registry: RunningRegistry, token: str, *, resource: str = NAME, **fields: str) -> Answer:
    asked = {"grant_type": GRANT, "subject_token_type": ID_TOKEN, "subject_token": token, "resource": resource}
    return registry.request("POST", "/oauth/token", json_body={**asked, **fields})


def token_for(registry: RunningRegistry, provider: Provider, *, resource: str = NAME) -> str:
    answer = exchange(registry, provider.token(registry.url), resource=resource)
    assert answer.status == 200, answer.body
    return str(answer.json()["access_token"])


def audit_lines(registry: RunningRegistry, event: str) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in (registry.folder / "audit.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == event]


@pytest.mark.thorough
def test_stock_hf_upload_publishes_by_the_jobs_token_alone(
    registry: RunningRegistry, provider: Provider, tmp_path: Path
) -> None:
    release = releases.make_release(repository=NAME)
    release.to_folder(tmp_path / "release")
    words = [sys.executable, "-m", "huggingface_hub.cli.hf", "upload", NAME, str(tmp_path / "release")]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=60, check=False,
        env={**environment(), "HF_ENDPOINT": registry.url, "HF_OIDC_RESOURCE": NAME, "HF_HOME": str(tmp_path / "hf"),
             "HF_OIDC_ID_TOKEN": provider.token(registry.url), "HF_HUB_DISABLE_TELEMETRY": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert registry.get(f"/{NAME}/resolve/main/{EMBEDDING}").body == release.embedding.data
    [line] = [line for line in audit_lines(registry, "commit") if line["repository"] == NAME]
    assert line["user"].startswith("workload-") and line["actor"] == line["user"]


def test_what_the_answer_says(registry: RunningRegistry, provider: Provider) -> None:
    token = provider.token(registry.url)
    answer = exchange(registry, token)
    said = answer.json()
    secret = said.pop("access_token")
    assert said == {"issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "token_type": "Bearer",
                    "expires_in": 900, "scope": "publish", "resource": NAME}  # fmt: skip
    assert answer.header("cache-control") == "no-store"
    [row] = [row for row in registry.ask("token", "list")["tokens"] if row["purpose"] == f"workload of {NAME}"][:1]
    life = datetime.fromisoformat(row["expires"]) - datetime.fromisoformat(row["created"])
    assert 890 < life.total_seconds() < 910 and row["scope"] == "publish"
    whole = b"".join(path.read_bytes() for path in registry.folder.rglob("*") if path.is_file())
    assert secret.encode() not in whole and token.encode() not in whole and token.split(".")[2].encode() not in whole
    [line] = [line for line in audit_lines(registry, "workload-token-issued") if line["token_id"] == row["id"]]
    assert line["issuer"] == provider.url and line["subject"] == "repo:radboud/ct:ref:refs/heads/main"
    assert registry.run("token", "rotate", row["id"], check=False).returncode != 0, "else it would be unlimited"


def test_the_token_is_good_for_one_repository_and_for_publishing_alone(
    registry: RunningRegistry, provider: Provider
) -> None:
    token = token_for(registry, provider)
    assert registry.get(f"/api/models/{NAME}/auth-check/write", token=token).status == 200
    readme = {"README.md": b"---\ntags: [x]\n---\n"}
    for name in (OTHER, "radboud/hidden", "Radboud/Other", f"{NAME.upper()}"):
        assert pushes.commit(registry, name, readme, token=token).status in (403, 404), name
    assert registry.get("/api/models/radboud/hidden", token=token).status == 404
    assert "radboud/hidden" not in registry.get("/api/models?author=radboud", token=token).body.decode()
    assert "radboud/hidden" not in registry.get("/radboud", token=token, headers={"Accept": "text/html"}).body.decode()
    assert pushes.create(registry, "radboud/new", token=token).status == 403
    for method, path, body in (
        ("PUT", f"/api/models/{NAME}/settings", {"private": True}),
        ("DELETE", "/api/repos/delete", {"name": "prostate-cspca", "organization": "radboud"}),
        ("POST", f"/embhub/v1/yank/{NAME}", {"version": "1.0.0", "reason": "x"}),
        ("PUT", f"/embhub/v1/terms/{NAME}", {"text": "x"}),
        ("POST", f"/api/models/{NAME}/user-access-request/grant", {"user": "lea"}),
        ("POST", f"/embhub/v1/audits/{'0' * 64}", {}),
        ("POST", "/embhub/v1/log/cosignature", {}),
        ("POST", f"/{OTHER}/ask-access", {}),
    ):
        assert registry.request(method, path, token=token, json_body=body).status in (400, 403, 404, 405), path
    assert registry.get("/metrics", token=token, headers={"X-Forwarded-For": "192.0.2.1"}).status in (401, 403)
    assert registry.get(f"/api/models/{NAME}").json()["private"] is False


def test_a_publisher_of_a_repository_that_does_not_exist_creates_it(
    registry: RunningRegistry, provider: Provider
) -> None:
    add(registry, provider, "radboud/coming")
    token = token_for(registry, provider, resource="radboud/coming")
    assert pushes.create(registry, "radboud/coming", token=token).status == 200
    add(registry, provider, "radboud/read-only", "repository_id=123456")
    with looking_into(registry.folder) as db:
        db.execute("UPDATE trusted_publisher SET scope = 'read' WHERE repository = 'radboud/read-only'")
    reading = token_for(registry, provider, resource="radboud/read-only")
    assert pushes.create(registry, "radboud/read-only", token=reading).status == 403


def test_a_token_counts_once(registry: RunningRegistry, provider: Provider) -> None:
    token = provider.token(registry.url)
    assert exchange(registry, token).status == 200
    assert exchange(registry, token).json()["error"] == "invalid_grant"
    bare = provider.token(registry.url, jti=None)
    assert exchange(registry, bare).status == 200 and exchange(registry, bare).status == 400
    head, body, signature = bare.split(".")
    other = base64.urlsafe_b64decode(signature + "==")
    order = releases.ORDER_OF_P256
    mirrored = other[:32] + (order - int.from_bytes(other[32:], "big")).to_bytes(32, "big")
    again = f"{head}.{body}.{base64.urlsafe_b64encode(mirrored).decode().rstrip('=')}"
    assert again != bare and exchange(registry, again).status == 400, "the same token with its other signature"


@pytest.mark.parametrize(
    "said",
    [
        {"aud": "https://elsewhere.example"}, {"aud": None}, {"aud": []}, {"aud": {}},
        {"repository_id": "654321"}, {"repository_id": None}, {"repository_id": 123456.5},
        {"repository_id": ["123456"]},
        {"ref": "refs/heads/main2"}, {"ref": "refs/heads/*"}, {"ref": None},
        {"exp": timedelta(seconds=-60), "iat": timedelta(seconds=-400)}, {"exp": None}, {"exp": "never"},
        {"exp": 1e300}, {"exp": True}, {"exp": timedelta(days=10)}, {"nbf": timedelta(seconds=600)},
        {"iat": timedelta(seconds=600)}, {"iat": None}, {"nbf": "now"},
        {"iss": "https://token.actions.githubusercontent.com"}, {"iss": None}, {"iss": ["x"]},
    ],
    ids=str,
)  # fmt: skip
def test_tokens_with_other_claims_are_refused(
    registry: RunningRegistry, provider: Provider, said: dict[str, Any]
) -> None:
    now = int(time.time())  # long after this module was imported
    times = {name: now + int(value.total_seconds()) for name, value in said.items() if isinstance(value, timedelta)}
    answer = exchange(registry, provider.token(registry.url, **said | times))
    assert answer.status == 400 and answer.json()["error"] == "invalid_grant", answer.body


def test_an_audience_among_others_is_another(registry: RunningRegistry, provider: Provider) -> None:
    both = provider.token([registry.url, "https://elsewhere.example"])
    assert exchange(registry, both).status == 400
    assert exchange(registry, provider.token([registry.url])).status == 200


def test_signatures_of_others_are_refused(registry: RunningRegistry, provider: Provider) -> None:
    good = provider.token(registry.url)
    head, body, signature = good.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    public = provider.key.as_pem(private=False)
    symmetric = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"key-1"}').decode().rstrip("=")
    mac = hmac.digest(public, f"{symmetric}.{body}".encode(), "sha256")
    shared = f"{symmetric}.{body}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
    stranger = new_key("key-1")
    own = new_key("mine")
    brought = {"jwk": own.as_dict(private=False)}
    for token in (
        f"{none}.{body}.", f"{none}.{body}.{signature}", f"{head}.{body}.", f"{head}.{body}.{signature[:-4]}AAAA",
        shared, provider.token(registry.url, key=stranger), provider.token(registry.url, key=own, header=brought),
        provider.token(registry.url, key=own, header={"jku": "https://evil.example/jwks"}), "", "x", "a.b.c", "." * 5,
        "e30.e30.e30", good + "x" * 20_000,
    ):  # fmt: skip
        answer = exchange(registry, token)
        assert answer.status == 400 and answer.json()["error"] in ("invalid_grant", "invalid_request"), token
    assert exchange(registry, good).status == 200


def test_requests_of_another_form(registry: RunningRegistry, provider: Provider) -> None:
    token = provider.token(registry.url)
    assert exchange(registry, token, grant_type="password").json()["error"] == "unsupported_grant_type"
    for odd in ({"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, {"requested_token_type": "x"}):
        assert exchange(registry, token, **odd).json()["error"] == "invalid_request"
    for resource in ("", "radboud", OTHER, "lumc/knee", "../..", "x" * 5000, "radboud/hidden"):
        answer = exchange(registry, token, resource=resource)
        assert answer.status == 400 and answer.json() == {
            "error": "invalid_grant", "error_description": "no trusted publisher of this repository accepts this token"
        }, resource  # fmt: skip
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    sent = f"grant_type={GRANT}&subject_token_type={ID_TOKEN}&resource={NAME}&subject_token={token}".encode()
    assert registry.request("POST", "/oauth/token", headers=form, body=sent).status == 200


def test_refused_tokens_are_in_the_audit_log_without_the_token(registry: RunningRegistry, provider: Provider) -> None:
    token = provider.token(registry.url, ref="refs/heads/evil")
    assert exchange(registry, token).status == 400
    for _ in range(200):
        found = [line for line in audit_lines(registry, "workload-refused") if "ref is another" in line["reason"]]
        if found:
            break
        time.sleep(0.05)
    assert found and found[0]["repository"] == NAME and found[0]["address"] == "127.0.0.1"
    assert token.split(".")[1] not in (registry.folder / "audit.jsonl").read_text()


def test_a_key_that_is_rotated_counts_after_half_a_minute_at_most(
    registry: RunningRegistry, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, so that its clock can be moved."""
    from embhub_registry.people.login import provider_metadata

    clock = [1000.0]
    monkeypatch.setattr(provider_metadata, "CACHE", provider_metadata.ProviderCache(lambda: clock[0]))
    before = provider.key
    try:
        with registry.opened() as opened:
            provider.asked.clear()
            for _ in range(3):
                workloads.exchange(opened, provider.token(registry.url), resource=NAME)
            assert provider.asked == ["/.well-known/openid-configuration", "/jwks"], "once for all three"
            provider.asked.clear()
            provider.rotate()
            for _ in range(5):
                with pytest.raises(workloads.ExchangeError):
                    workloads.exchange(opened, provider.token(registry.url, key=new_key("chosen")), resource=NAME)
            with pytest.raises(workloads.ExchangeError):
                workloads.exchange(opened, provider.token(registry.url), resource=NAME)
            assert provider.asked == [], "whoever sends a token does not decide how often the provider is asked"
            clock[0] += 31
            workloads.exchange(opened, provider.token(registry.url), resource=NAME)
            assert provider.asked == ["/jwks"]
            clock[0] += 601
            with pytest.raises(workloads.ExchangeError):
                workloads.exchange(opened, provider.token(registry.url, key=before), resource=NAME)
            assert sorted(provider.asked) == ["/.well-known/openid-configuration", "/jwks", "/jwks"]
    finally:
        provider.key = before


def test_an_ended_publisher_ends_its_tokens(registry: RunningRegistry, provider: Provider) -> None:
    made = add(registry, provider, "radboud/ended")
    token = token_for(registry, provider, resource="radboud/ended")
    assert pushes.create(registry, "radboud/ended", token=token).status == 200
    registry.run("repo", "publisher", "end", made["id"])
    assert registry.get("/api/whoami-v2", token=token).status == 401
    assert exchange(registry, provider.token(registry.url), resource="radboud/ended").status == 400
    assert registry.run("repo", "publisher", "end", made["id"], check=False).returncode != 0
    [shown] = [p for p in registry.ask("repo", "publisher", "list")["publishers"] if p["id"] == made["id"]]
    assert shown["ended"]


def test_a_disabled_account_of_a_workload_gets_nothing(registry: RunningRegistry, provider: Provider) -> None:
    made = add(registry, provider, "radboud/disabled")
    registry.run("user", "disable", made["user"])
    assert exchange(registry, provider.token(registry.url), resource="radboud/disabled").status == 400
    registry.run("user", "enable", made["user"])
    link = registry.ask("user", "login-link", made["user"])["link"].removeprefix(registry.url)
    person = Person(registry)
    person.open(link)
    assert "account is a workload" in person.press(link, status=403), "nobody logs in as it"


def test_a_publisher_counts_only_while_whoever_registered_it_may_register_one(
    registry: RunningRegistry, provider: Provider
) -> None:
    registry.add_user("vera", namespace="radboud")
    vera = Person(registry)
    vera.use_link("vera")
    vera.open("/account/publishers")
    name = "radboud/vouched-for"
    vera.press(
        "/account/publishers/add", repository=name, issuer=provider.url, audience=registry.url,
        claims="repository_id=123456",
    )  # fmt: skip
    assert exchange(registry, provider.token(registry.url), resource=name).status == 200
    registry.run("user", "join", "vera", "--namespace", "radboud", "--role", "approver")
    assert exchange(registry, provider.token(registry.url), resource=name).status == 400, "another role"
    registry.run("user", "join", "vera", "--namespace", "radboud", "--role", "publisher")
    assert exchange(registry, provider.token(registry.url), resource=name).status == 200
    registry.run("user", "disable", "vera")
    assert exchange(registry, provider.token(registry.url), resource=name).status == 400, "shut out"


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        (("repository=radboud/ct",), "require repository_id"),
        (("project_path=radboud/ct", "ref=x"), "require project_id"),
        (("sub=repo:radboud/ct:ref:refs/heads/main",), "require repository_id"),
        (("sub=project_path:radboud/ct:ref_type:branch:ref:main",), "project_id"),
        (("sub=1", "workflow_ref=radboud/ct/.github/workflows/x.yml@refs/heads/main"), "require repository_id"),
        (("sub=1", "job_workflow_ref=radboud/ct/.github/workflows/x.yml@v1"), "require repository_id"),
        (("sub=1", "ci_config_ref_uri=gitlab.com/radboud/ct//.gitlab-ci.yml@refs/heads/main"), "require project_id"),
        (("ref=refs/heads/main", "environment=release"), "name no workload"),
        (("aud=x",), "besides issuer and audience"),
        (("ref=",), "one line"),
        (("ref=a", "ref=b"), "comes twice"),
        (("ref",), "no NAME=VALUE"),
    ],
)
def test_rules_that_nobody_should_make(
    registry: RunningRegistry, provider: Provider, claims: tuple[str, ...], words: str
) -> None:
    options = [word for claim in claims for word in ("--claim", claim)]
    done = registry.run("repo", "publisher", "add", NAME, "--issuer", provider.url, *options, check=False)
    assert done.returncode != 0 and words in done.stderr, done.stderr
    for issuer in ("http://ci.example.org", "ftp://x", "https://", "https://ci.example.org/?x"):
        options = ["--issuer", issuer, "--claim", "repository_id=1"]
        assert registry.run("repo", "publisher", "add", NAME, *options, check=False).returncode != 0, issuer


def test_the_page_adds_and_ends_one(registry: RunningRegistry, provider: Provider) -> None:
    alice = Person(registry)
    alice.use_link("alice")
    page = alice.open("/account/publishers")
    assert "Add a trusted publisher" in page
    fields: dict[str, Any] = {"repository": "radboud/by-page", "issuer": provider.url, "audience": registry.url,
              "claims": "repository_id=123456\r\nref=refs/heads/main\r\n"}  # fmt: skip
    alice.press("/account/publishers/add", **fields)
    assert "radboud/by-page" in alice.text() and "ref refs/heads/main" in alice.text()
    token = token_for(registry, provider, resource="radboud/by-page")
    alice.press("/account/publishers/add", status=403, **{**fields, "repository": "lumc/knee"})
    alice.open("/account/publishers")
    alice.press("/account/publishers/add", status=400, **{**fields, "claims": "repository=radboud/ct"})
    rob = Person(registry)
    rob.use_link("rob")
    assert "Add a trusted publisher" not in rob.open("/account/publishers")
    form = {"form_token": rob.form("/account/logout")["form_token"]}
    answer = rob._send("POST", "/account/publishers/add", {**fields, **form})
    assert answer.status == 403
    [row] = [p for p in registry.ask("repo", "publisher", "list")["publishers"] if p["repository"] == "radboud/by-page"]
    assert rob._send("POST", "/account/publishers/end", {"publisher": row["id"], **form}).status == 404
    alice.open("/account/publishers")
    page = alice.page
    alice.page = page[page.index(row["user"]) :]
    alice.press("/account/publishers/end", publisher=row["id"])
    assert registry.get("/api/whoami-v2", token=token).status == 401


def test_the_page_asks_again_who_somebody_is(registry: RunningRegistry, provider: Provider) -> None:
    alice = Person(registry)
    alice.use_link("alice")
    with looking_into(registry.folder) as db:
        db.execute("UPDATE session SET confirmed = '2026-01-01T00:00:00.000Z'")
    alice.open("/account/publishers")
    answer = alice.send("/account/publishers/add", repository=NAME, issuer=provider.url, audience="x", claims="a=b")
    assert answer.status == 303 and "/login?next=" in str(answer.header("location"))


def test_embhub_login_as_a_job(
    registry: RunningRegistry, provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EMBHUB_ID_TOKEN", provider.token(registry.url))
    account, file = workload_login.log_in(registry.url, repository=NAME)
    assert account.name.startswith("workload-") and file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(RegistryError, match="no trusted publisher of this repository accepts this token"):
        workload_login.log_in(registry.url, repository=NAME)
    monkeypatch.delenv("EMBHUB_ID_TOKEN")
    monkeypatch.setenv(workload_login.URL, f"{provider.url}/request?api-version=2.0")
    monkeypatch.setenv(workload_login.BEARER, BEARER)
    assert workload_login.log_in(registry.url, repository=NAME)[0].name == account.name


def test_check_claims_compares_to_the_letter() -> None:
    assert workloads.check_claims({"a": "true", "b": "5"}, {"a": True, "b": 5}) is None
    assert workloads.check_claims({"a": "x"}, {"a": "x "}) == "a" and workloads.check_claims({"a": "x"}, {}) == "a"
    assert workloads.check_claims({"a": "None"}, {"a": None}) == "a"
    assert workloads.check_claims({"a": '["x"]'}, {"a": ["x"]}) == "a"


def test_embhub_push_publishes_as_a_job(
    registry: RunningRegistry, provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(registry, provider, "radboud/from-ci")
    site = Site(tmp_path / "ci", registry.url).enter(monkeypatch)
    site.trust(registry)
    new_signing_key(registry, namespace="radboud")
    file = site.make("from-ci")
    monkeypatch.setenv("EMBHUB_ID_TOKEN", provider.token(registry.url))
    assert embhub(["login", "--registry", registry.url, "--workload", "radboud/from-ci"]) == 0
    assert embhub(["push", str(file)]) == 0
    assert registry.get(f"/radboud/from-ci/resolve/main/{EMBEDDING}").body == file.read_bytes()
    elsewhere = site.make("elsewhere", seed=1)
    assert embhub(["push", str(elsewhere)]) != 0, "another repository of the namespace"
