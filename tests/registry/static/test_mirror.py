"""A mirror of a real registry: it verifies, drops what was withdrawn, cosigns, serves, and refuses a liar."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import httpx
import huggingface_hub
import numpy as np
import pytest

from embhub.cli.find_and_verify import log_rounds
from embhub.client.pulling import pull as pulling
from embhub.client.trusted import roots
from embhub.errors import EmbhubError, RegistryError
from embhub.evidence.intake_sheet import intake
from embhub.log import checkpoints, notes
from embhub.log.checkpoints import Checkpoint
from embhub.log.errors import ForkedLogError, MalformedLogError
from embhub.refusals import RollbackError
from embhub.release import files as release_files
from embhub.release import signing
from embhub.release.files import EMBEDDING
from embhub.trust.origin import origin_of
from embhub_registry.static.mirror import serving_files, web
from embhub_registry.static.mirror.following import Mirror
from embhub_registry.static.mirror.holdings import Holdings
from tests.support import evaluations, hostile, pushes, releases
from tests.support.quick import others_thorough
from tests.support.servers import RunningRegistry, environment, run_here, start_registry
from tests.support.statics import contents, plain_server, publish

BREAST = "radboud/breast-mass"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    registry = start_registry(Path(tmp_path_factory.mktemp("followed")))
    try:
        registry.add_key(releases.SITE, namespace="radboud")
        alice = registry.add_user("alice", namespace="radboud")
        publish(registry, "prostate-cspca", token=alice)
        publish(registry, "prostate-cspca", token=alice, version="1.1.0")
        publish(registry, "breast-mass", token=alice, seed=4)
        publish(registry, "secret", token=alice, seed=5)
        evaluations.publish(registry, releases.make_embedding(seed=0).digest, found=evaluations.HARM)
        registry.run("repo", "visibility", "radboud/secret", "private")
        yield registry
    finally:
        registry.stop()


def as_a_site(hub: RunningRegistry, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(folder / "site"))
    monkeypatch.chdir(folder)
    roots.add_root(hub.url, fingerprint=hub.root_fingerprint)


def test_a_mirror_serves_what_it_verified_and_shows_its_age_by_its_own_cosignature(
    hub: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror_of: Callable[[str], Mirror]
) -> None:
    mirror = mirror_of(hub.url)
    done = mirror.refresh()
    assert (done.releases, done.taken, done.problems) == (3, 3, ())
    assert (again := mirror.refresh()).taken == 0 and again.releases == 3
    everything = contents(mirror.site)
    assert not any("secret" in path for path in everything) and b"radboud/secret" not in b"".join(everything.values())
    witness = mirror.state.read()["witness"]
    as_a_site(hub, tmp_path, monkeypatch)
    (tmp_path / "site/config/log-policy").write_text(f"witness M {witness}\nquorum M\n")
    with plain_server(mirror.site) as url:
        pulled = pulling.pull(releases.REPOSITORY, registry=url, require="logged")
        read_again = log_rounds.verify_all(url, None)
    assert pulled.version == "1.1.0" and read_again["verified"] == read_again["entries"] > 5
    assert [one.figures.outcome for one in pulled.evaluations] == ["did harm"], "from files, and verified"
    assert "fresh: a quorum" in next(one.text for one in pulled.findings if one.check == "log-witnesses")


def test_an_intake_sheet_made_of_a_copy_does_not_say_that_the_registry_was_asked(
    hub: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy's list of withdrawals is as old as it is."""
    as_a_site(hub, tmp_path, monkeypatch)
    hub.run("export", "--static", tmp_path / "copy")
    for address, asked in ((hub.url, True), (str(tmp_path / "copy"), False)):
        sheet = intake.write_intake(BREAST, tmp_path / f"sheet-{asked}", registry=address, standards=["satre"])
        said = " ".join(f"{one.done} {one.missing}" for one in sheet.controls["satre"])
        assert ("was asked on" in said, "No registry said whether" in said) == (asked, not asked)


def test_what_the_token_reads_beyond_the_mirror_is_in_no_list(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror]
) -> None:
    """A closed registry is followed with a token, which may read private repositories with the same bytes."""
    token, digest = hub.add_user("hester", namespace="radboud"), releases.make_embedding(seed=0).digest
    publish(hub, "hushed", token=token)
    evaluator = hub.add_user("evaluator-of-hushed", namespace="umcu", role="reader")
    made = evaluations.signed(digest, repository="radboud/hushed")
    sent = hub.request("POST", f"/embhub/v1/evaluations/{digest}", token=evaluator, json_body=made)
    assert sent.status == 200, sent.body
    hub.run("repo", "visibility", "radboud/hushed", "private")
    mirror = replace(mirror_of(hub.url), token=token)
    mirror.refresh()
    held = contents(mirror.site)
    assert any(path.endswith(f"evaluations/{digest}") for path in held)
    assert [path for path, data in held.items() if b"radboud/hushed" in data] == []


def test_a_leak_is_shown_with_the_same_numbers_under_another_header(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror]
) -> None:
    hub.add_key(releases.AUDITOR, namespace="nki", role="audit")
    anna, nora = hub.add_user("anna", namespace="radboud"), hub.add_user("nora", namespace="nki", role="auditor")
    for name, steps in (("leaking", 200), ("washed", 201)):
        artifact = releases.make_embedding(seed=33, training={"steps": steps, "learning_rate": 0.005})
        made = releases.make_release(artifact=artifact, repository=f"radboud/{name}", name=name, audited=False)
        pushes.create(hub, name, token=anna)
        assert pushes.commit(hub, f"radboud/{name}", made.files, token=anna).status == 200
    leaking = releases.make_embedding(seed=33)
    report = releases.make_report(leaking, shift=3.0)
    signed = signing.attest_audit(
        report, numbers=leaking.numbers, report_digest=release_files.digest(report.to_bytes()),
        registry=releases.ORIGIN, repository="radboud/leaking", version="1.0.0", key=releases.AUDITOR, now=releases.NOW,
    )  # fmt: skip
    files = {release_files.AUDIT: report.to_bytes(), releases.AUDITOR_BUNDLE: signed}
    assert pushes.commit(hub, "radboud/leaking", files, token=nora).status == 200
    mirror = mirror_of(hub.url)
    assert mirror.refresh().problems == ()
    said = json.loads((mirror.site / f"embhub/v1/audits/{artifact.digest}").read_bytes())
    assert artifact.digest != leaking.digest
    assert [(row["repository"], row["verdict"]) for row in said["audits"]] == [("radboud/leaking", "leak-detected")]


def test_what_is_nearly_withdrawn_is_marked_at_a_mirror_too(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror]
) -> None:
    """It stays so in rounds that do not come to ask of it again."""
    rows = np.random.default_rng(34).normal(size=(8, 32)).astype(np.float16)
    changed = rows.copy()
    changed[3, 7] = np.nextafter(changed[3, 7], np.float16(np.inf))
    anna = hub.add_user("anja", namespace="radboud")
    for name, numbers in (("drawn-back", rows), ("one-unit-off", changed)):
        artifact = releases.make_embedding(rows=numbers)
        made = releases.make_release(artifact=artifact, repository=f"radboud/{name}", name=name)
        pushes.create(hub, name, token=anna)
        assert pushes.commit(hub, f"radboud/{name}", made.files, token=anna).status == 200
    hub.run("curate", "yank", "radboud/drawn-back", "--scope", "bytes", "--reason", "found unsafe")
    mirror = mirror_of(hub.url)
    for _ in range(2):
        assert mirror.refresh().problems == ()
        said = json.loads((mirror.site / f"embhub/v1/audits/{artifact.digest}").read_bytes())
        assert said["nearly"] == ["nearly the numbers of radboud/drawn-back 1.0.0, withdrawn"]
    assert serving_files.audits_in(mirror.site, [artifact.digest])[artifact.digest].nearly == said["nearly"]


def test_what_is_in_quarantine_is_dropped_and_comes_back(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror]
) -> None:
    publish(hub, "aside", token=hub.add_user("ada", namespace="radboud"), seed=31)
    mirror = mirror_of(hub.url)
    mirror.refresh()
    assert any("/aside/resolve/" in path for path in contents(mirror.site))
    hub.run("curate", "quarantine", "set", "radboud/aside", "--reason", "a copy is suspected")
    done = mirror.refresh()
    held = contents(mirror.site)
    assert done.dropped == 1 and not any("/aside/resolve/" in path for path in held)
    assert b"suspected" not in b"".join(held.values())
    hub.run("curate", "quarantine", "lift", "radboud/aside", "--version", "1.0.0")
    assert mirror.refresh().taken == 1 and any("/aside/resolve/" in path for path in contents(mirror.site))


def test_what_an_admin_disabled_is_dropped_and_comes_back(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror]
) -> None:
    publish(hub, "off", token=hub.add_user("otto", namespace="radboud"), seed=33)
    mirror = mirror_of(hub.url)
    mirror.refresh()

    def served() -> bool:
        return any("/off/resolve/" in path for path in contents(mirror.site))

    def disable(value: bool) -> None:
        said = hub.request("PUT", "/api/models/radboud/off/settings", token=hub.admin, json_body={"disabled": value})
        assert said.status == 200, said.body

    assert served()
    disable(True)
    assert mirror.refresh().dropped == 1 and not served()
    assert asyncio.run(_get(mirror, "/api/models/radboud/off")).status_code == 404
    assert mirror.refresh().dropped == 0
    disable(False)
    assert mirror.refresh().taken == 1 and served()


def test_what_was_withdrawn_is_dropped_within_one_refresh(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror], tmp_path: Path
) -> None:
    alice = hub.add_user("wendy", namespace="radboud")
    for name, seed in (("yanked", 21), ("erased", 22), ("hidden", 23)):
        publish(hub, name, token=alice, seed=seed)
    mirror = mirror_of(hub.url)
    assert mirror.refresh().problems == ()
    held = {path for path in contents(mirror.folder) if "/resolve/" in path}
    assert {name for name in ("yanked", "erased", "hidden") if any(f"/{name}/" in path for path in held)} == {
        "yanked", "erased", "hidden",
    }  # fmt: skip
    before = len(list((mirror.folder / "blobs").rglob("*")))
    hub.run("curate", "yank", "radboud/yanked", "--reason", "consent was withdrawn")
    hub.run("repo", "delete", "radboud/erased", "--reason", "consent was withdrawn")
    hub.run("repo", "visibility", "radboud/hidden", "private")
    done = mirror.refresh()
    assert done.dropped == 3
    gone = [f"/{name}/resolve/" for name in ("yanked", "erased", "hidden")]
    left = [path for path in contents(mirror.folder) if any(part in path for part in gone)]
    assert left == [] and len(list((mirror.folder / "blobs").rglob("*"))) < before, "the bytes are gone, too"
    answer = asyncio.run(_get(mirror, "/api/models/radboud/yanked/revision/main"))
    assert answer.status_code == 410 and "consent was withdrawn" in answer.headers["x-error-message"]
    assert asyncio.run(_get(mirror, "/api/models/radboud/erased")).status_code == 404
    assert mirror.refresh().dropped == 0


async def _get(mirror: Mirror, path: str, method: str = "GET") -> httpx.Response:
    transport = httpx.ASGITransport(app=web.build(mirror, interval=300))
    async with httpx.AsyncClient(transport=transport, base_url="http://mirror") as client:
        return await client.request(method, path)


def test_a_mirror_answers_clients_of_the_hub_and_changes_nothing_for_them(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror], tmp_path: Path
) -> None:
    mirror = mirror_of(hub.url)
    assert asyncio.run(_get(mirror, "/readyz")).status_code == 503
    mirror.refresh()
    ready = asyncio.run(_get(mirror, "/readyz"))
    assert ready.status_code == 200 and ready.json()["age_seconds"] < 60 and ready.json()["follows"] == hub.url
    assert asyncio.run(_get(mirror, f"/api/models/{BREAST}", "POST")).status_code == 405
    for path in ("/../state.json", "/%2e%2e/state.json", "/..%2fheld.json", "/x/y/resolve/../../../../state.json"):
        assert asyncio.run(_get(mirror, path)).status_code == 404, path
    moving = asyncio.run(_get(mirror, f"/{BREAST}/resolve/main/{EMBEDDING}", "HEAD"))
    assert moving.status_code == 307 and moving.headers["x-repo-commit"] in moving.headers["location"]
    for way, revision in product(("resolve", "raw", "blob"), ("main", "HEAD", moving.headers["x-repo-commit"])):
        found = asyncio.run(_get(mirror, f"/{BREAST}/{way}/{revision}/{EMBEDDING}"))
        assert found.headers["x-repo-commit"] == moving.headers["x-repo-commit"]
        assert found.headers.get("location", moving.headers["location"]) == moving.headers["location"]
        assert found.status_code == (200 if revision in moving.headers["location"] else 307), (way, revision)
    for kind in ("revision", "tree", "commits"):
        newest, main = (asyncio.run(_get(mirror, f"/api/models/{BREAST}/{kind}/{ref}")) for ref in ("HEAD", "main"))
        assert newest.status_code == 200 and newest.content == main.content
    assert len(asyncio.run(_get(mirror, "/api/models?search=breast-mass")).json()) == 1
    assert asyncio.run(_get(mirror, "/api/models/none/such")).headers["x-error-code"] == "RepoNotFound"


@pytest.mark.thorough
def test_the_program_follows_serves_and_ends(hub: RunningRegistry, tmp_path: Path) -> None:
    refused = run_here("--dir", tmp_path / "m", "mirror", hub.url, "--once", check=False)
    assert refused.returncode == 7 and "--fingerprint" in refused.stderr
    words = ["--dir", str(tmp_path / "m"), "mirror", hub.url, "--fingerprint", hub.root_fingerprint]
    program = [sys.executable, "-m", "embhub_registry", *words, "--port", "0", "--interval", "1"]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    try:
        assert process.stdout is not None and process.stderr is not None
        url = process.stdout.readline().split()[-1]
        assert "releases held" in process.stderr.readline()
        got = huggingface_hub.hf_hub_download(
            BREAST, EMBEDDING, endpoint=url, token=False, cache_dir=tmp_path / "cache"
        )
        assert Path(got).stat().st_size > 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_token_and_private_repositories_are_the_operators_choice(hub: RunningRegistry, tmp_path: Path) -> None:
    """`--token-file` alone serves what everybody reads; `--include` says what else all who reach the mirror get."""
    token = tmp_path / "token"
    token.write_text(hub.add_user("mirror-operator", namespace="radboud") + "\n")
    words = ("--dir", tmp_path / "m", "mirror", hub.url, "--fingerprint", hub.root_fingerprint, "--once")
    refused = run_here(*words, "--include", "private", check=False)
    assert refused.returncode == 2 and "--token-file" in refused.stderr
    for data in (b"\xff\xfe\x00", b"two words", b""):
        (tmp_path / "bad").write_bytes(data)
        refused = run_here(*words, "--token-file", tmp_path / "bad", check=False)
        assert refused.returncode == 7 and "Traceback" not in refused.stderr, refused.stderr
    for more, secret in (((), False), (("--include", "private"), True), ((), False)):
        run_here(*words, "--token-file", token, *more)
        held = contents(tmp_path / "m" / "site")
        assert any("radboud/secret" in path for path in held) == secret, more
        assert not any(token.read_bytes().strip() in data for data in held.values())


@pytest.mark.thorough
def test_a_mirror_may_follow_a_static_export_or_another_mirror(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror], tmp_path: Path
) -> None:
    hub.run("export", "--static", tmp_path / "export")
    mirror = mirror_of(str(tmp_path / "export"))
    done = mirror.refresh()
    assert done.releases >= 3 and done.problems == ()


def forge(body: bytes) -> bytes:
    """Another keyring under the same signature."""
    return body.replace(b'"payload":"', b'"payload":"AAAA', 1)


# A hostile registry, in between: each lie is one thing changed in honest answers.


LIES: list[tuple[str, hostile.Answer, type[EmbhubError]]] = [
    ("/embhub/v1/trust", hostile.edited(forge), EmbhubError),
    ("/embhub/v1/trust", hostile.edited(lambda body: b"x" * 5_000_000), RegistryError),
    ("/log/checkpoint", hostile.edited(lambda body: body.replace(b"\n", b" ", 1)), EmbhubError),
    ("/log/tile/entries", hostile.edited(lambda body: body[:-1] + bytes([body[-1] ^ 1])), MalformedLogError),
    ("/log/tile/entries", hostile.drip(b"x" * 65_536), EmbhubError),
    ("/api/models", hostile.edited(lambda body: b"<html>"), RegistryError),
]


def test_a_lie_about_the_whole_leaves_what_is_served_as_it_was(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror]
) -> None:
    with hostile.stand_between(hub.url) as middle:
        mirror = mirror_of(middle.url)
        mirror.refresh()
        before = contents(mirror.site)
        publish(hub, "later", token=hub.add_user("laura", namespace="radboud"), seed=100)
        for part, lie, error in LIES:
            middle.lies = {part: lie}
            with pytest.raises(error):
                mirror.refresh()
            assert contents(mirror.site) == before, part
            assert mirror.state.read()["failed"]
            assert not (mirror.folder / "FORKED.txt").exists(), "damaged answers show no second history"
        middle.lies = {}
        assert mirror.refresh().taken == 1


def test_a_release_that_does_not_verify_is_left_out_and_said(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror]
) -> None:
    lies = {
        "prostate-cspca/resolve": hostile.edited(lambda body: body[:-1] + bytes([body[-1] ^ 1])),
        "breast-mass/revision": hostile.edited(
            lambda body: body.replace(b'"rfilename":"README.md"', b'"rfilename":"../../../../../tmp/README.md"')
        ),
    }
    with hostile.stand_between(hub.url) as middle:
        mirror = mirror_of(middle.url)
        middle.lies = lies
        done = mirror.refresh()
        assert len(done.problems) >= 2 and any("prostate-cspca" in text for text in done.problems)
        found = contents(mirror.folder)
        assert not any("prostate-cspca/resolve" in path or "breast-mass/resolve" in path for path in found)
        assert not (mirror.folder.parent.parent / "tmp/README.md").exists()


def test_a_forked_log_ends_the_following_with_evidence_and_what_is_held_stays_served(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror]
) -> None:
    with hub.opened() as opened:
        key = opened.private_keys.log_key(origin_of(hub.url))
    assert key is not None

    def fork(body: bytes) -> bytes:
        real = checkpoints.parse(notes.parse(body))
        return checkpoints.sign(Checkpoint(real.origin, real.size, b"\7" * 32), by=key).to_bytes()

    with hostile.stand_between(hub.url) as middle:
        mirror = mirror_of(middle.url)
        mirror.refresh()
        before = contents(mirror.site)
        middle.lies = {"/log/checkpoint": hostile.edited(fork)}
        with pytest.raises(ForkedLogError) as caught:
            mirror.refresh()
        assert caught.value.exit_code == 4
        (evidence,) = (mirror.folder / "home/state/log-forks").iterdir()
        assert evidence.read_text().count("— " + key.public.name) >= 2
        middle.lies = {}
        said = (mirror.folder / "FORKED.txt").read_text()
        for _ in range(2):
            with pytest.raises(ForkedLogError, match="found forked earlier"):
                mirror.refresh()
        assert (mirror.folder / "FORKED.txt").read_text() == said, "what was found, and nothing of later rounds"
        assert contents(mirror.site) == before
        answer = asyncio.run(_get(mirror, "/readyz"))
        assert answer.status_code == 503 and answer.json()["forked"]
        hub.run("curate", "yank", "radboud/prostate-cspca", "--version", "1.0.0", "--reason", "while the log is forked")
        held = len(list(Holdings(mirror.folder).blobs.stored()))
        assert mirror.withdraw() == 1, "as the service does every few seconds"
        with pytest.raises(ForkedLogError):
            mirror.refresh()
        assert len(list(Holdings(mirror.folder).blobs.stored())) < held, "its bytes are gone, too"
        left = {
            path for path in contents(mirror.site) if path in before and before[path] == contents(mirror.site)[path]
        }
        assert set(before) - left and any("1.1.0" in path for path in contents(mirror.site))
        assert not any("prostate-cspca/revision/1.0.0" in path for path in contents(mirror.site))
        mirror_ends(mirror, middle.url)
        hub.run("curate", "unyank", "radboud/prostate-cspca", "--version", "1.0.0")


def mirror_ends(mirror: Mirror, url: str) -> None:
    """As a program, in another process."""
    words = ["--dir", str(mirror.folder), "mirror", url, "--once"]
    busy = run_here(*words, check=False)
    assert busy.returncode == 7 and "another process" in busy.stderr


def test_an_older_state_and_withdrawals_that_vanish_are_refused(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror]
) -> None:
    old = hub.get("/log/checkpoint").body
    publish(hub, "newer", token=hub.add_user("nils", namespace="radboud"), seed=31)
    hub.run("curate", "yank", "radboud/newer", "--reason", "for the list")
    trusted = hub.get("/embhub/v1/trust").body
    with hostile.stand_between(hub.url) as middle:
        mirror = mirror_of(middle.url)
        mirror.refresh()
        before = contents(mirror.site)
        middle.lies = {"/log/checkpoint": hostile.edited(lambda body: old)}
        with pytest.raises(RegistryError, match="older state"):
            mirror.refresh()
        without = json.dumps({**json.loads(trusted), "advisories": None, "timestamp": None}).encode()
        middle.lies = {"/embhub/v1/trust": hostile.edited(lambda body: without)}
        with pytest.raises(RollbackError):
            mirror.refresh()
        hub.run("curate", "yank", BREAST, "--reason", "a later list")
        middle.lies = {"/embhub/v1/trust": hostile.edited(lambda body: body)}
        mirror.refresh()
        middle.lies = {"/embhub/v1/trust": hostile.edited(lambda body: trusted)}
        with pytest.raises(RollbackError):
            mirror.refresh()
        hub.run("curate", "unyank", BREAST)
        assert not (mirror.folder / "FORKED.txt").exists()
        assert {path for path in before if "prostate-cspca/resolve" in path} <= set(contents(mirror.site))


ANSWERS = [
    "/embhub/v1/audits", "/embhub/v1/designs", "/embhub/v1/evaluations", "/embhub/v1/status", "/embhub/v1/trust",
    "/embhub/v1/advisories", "/api/models", "/revision",
]  # fmt: skip


@pytest.mark.parametrize("part", others_thorough(ANSWERS, {"/embhub/v1/audits"}))
def test_brackets_nested_deeply_are_an_answer_that_is_none(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror], part: str
) -> None:
    """The mirror takes it as no answer, or refuses it in its own words, and continues to follow."""
    with hostile.stand_between(hub.url) as middle:
        mirror = mirror_of(middle.url)
        middle.lies = {part: hostile.edited(lambda body: b'{"audits":' + b"[" * 200_000)}
        with contextlib.suppress(EmbhubError):
            mirror.refresh()
        middle.lies = {}
        assert mirror.refresh().problems == ()
