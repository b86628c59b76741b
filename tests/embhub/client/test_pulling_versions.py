"""An older version is pulled by naming it; nothing else goes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.client.account import accounts
from embhub.client.publishing import push as publishing
from embhub.client.pulling import pull as pulling
from embhub.client.pulling.opening import open_path
from embhub.client.trusted import roots
from embhub.errors import RegistryError
from embhub.formats import names
from embhub.refusals import AnotherReleaseError, RollbackError, WrongVersionError
from embhub.release import files as release_files
from embhub.release.demands import PolicyRefusedError
from embhub.site.memory import seen
from tests.support import hostile, hostile_files
from tests.support.releases import (
    AUDITOR,
    AUDITOR_BUNDLE,
    REGISTRY,
    REPOSITORY,
    ROOT,
    SITE,
    STRANGER,
    make_embedding,
    make_export,
    make_keyring,
    make_release,
    member,
    resigned,
)
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import Site, new_key, open_site


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        with pytest.MonkeyPatch.context() as patch:
            site = open_site(running, tmp_path_factory.mktemp("a"), namespace="radboud", user="alice").enter(patch)
            new_key(running, namespace="radboud")
            for number, version in enumerate(("1.0.0", "1.1.0")):
                publishing.push(site.make(seed=number, version=version))
                for signed in site.folder.glob("*.sigstore.json"):
                    signed.unlink()
        yield running


@pytest.fixture
def commits(registry: RunningRegistry) -> list[str]:
    """Of both versions, the newer first."""
    from huggingface_hub import HfApi

    return [found.commit_id for found in HfApi(endpoint=registry.url).list_repo_commits(REPOSITORY)]


@pytest.fixture
def reader(registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(tmp_path / "b", registry.url, "").enter(monkeypatch)
    site.trust(registry)
    return site


def first_digits(commit: str) -> str:
    """At least 12 of a commit's digits, as many as make them no version."""
    return next(commit[:n] for n in range(12, 41) if n == 40 or names.version_fault(commit[:n]) is not None)


def test_an_older_version_after_a_newer_one(
    registry: RunningRegistry, reader: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pulling.pull(REPOSITORY).version == "1.1.0"
    got = pulling.pull(f"{REPOSITORY}@1.0.0", out="old")
    assert got.version == "1.0.0"
    (said,) = [found for found in got.findings if found.check == "version"]
    assert said.outcome == "warning" and "older than 1.1.0, the newest seen here" in said.text
    # the folder stays usable, and the newest seen is still the newest
    assert pulling.verify_path("old").version == "1.0.0"
    assert any("older than 1.1.0" in text for text in open_path("old").warnings)
    newest = seen.newest(registry.url, REPOSITORY)
    assert newest is not None and newest.version == "1.1.0"
    assert main(["pull", f"{REPOSITORY}@1.0.0", "--out", "again"]) == 0
    assert "older than 1.1.0" in capsys.readouterr().out


def test_the_digits_that_pages_and_search_print(reader: Site, commits: list[str]) -> None:
    found = accounts.connect().search()
    assert [listing.commit for listing in found] == [commits[0]]
    assert pulling.pull(f"{REPOSITORY}@{first_digits(commits[0])}").version == "1.1.0"


def test_a_commit_names_one_release_and_goes_back(reader: Site, commits: list[str]) -> None:
    pulling.pull(REPOSITORY, out="newest")
    for digits in (commits[1], first_digits(commits[1])):
        got = pulling.pull(f"{REPOSITORY}@{digits}", out="second")
        assert got.version == "1.0.0"
        (said,) = [found for found in got.findings if found.check == "version"]
        assert said.outcome == "warning" and "older than 1.1.0" in said.text and "requested" in said.text


def test_a_folder_pulled_earlier_stays_usable(reader: Site, commits: list[str]) -> None:
    """Whoever repeats a paper's figures has this folder and no reason to pull it again."""
    pulling.pull(f"{REPOSITORY}@{commits[1]}", out="first")
    pulling.pull(REPOSITORY, out="second")
    assert pulling.verify_path("first").version == "1.0.0"
    older, ledger = open_path("first").warnings
    assert "older than 1.1.0" in older and "accepted here on 20" in older
    assert "shows no privacy ledger" in ledger, "as `embhub verify` says of it, too"


@pytest.mark.parametrize("revision", ["9.9.9", "0000000", "nothing", "1.0"])
def test_what_is_not_there(reader: Site, revision: str) -> None:
    with pytest.raises(RegistryError, match="no such revision"):
        pulling.pull(f"{REPOSITORY}@{revision}")


@pytest.fixture
def liar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hostile.Registry]:
    with hostile.serve() as registry:
        registry.files = make_release().files
        registry.export = make_export()
        Site(tmp_path / "site", registry.url).enter(monkeypatch)
        roots.add_root(registry.url, fingerprint=ROOT.fingerprint)
        yield registry


def test_another_version_than_the_requested_one(liar: hostile.Registry) -> None:
    with pytest.raises(WrongVersionError, match=r"version 2\.0\.0 .* was requested, this is version 1\.0\.0"):
        pulling.pull(f"{REPOSITORY}@2.0.0")
    assert not Path("prostate-cspca").exists()


@pytest.mark.parametrize("digits", ["20261121", "160979504497", "123456a1"])
def test_digits_that_can_be_a_version_are_no_commit(liar: hostile.Registry, digits: str) -> None:
    """A registry that gives an older release such a commit would get round the version otherwise."""
    liar.commit = digits + "0" * (40 - len(digits))
    with pytest.raises(WrongVersionError, match=f"version {digits} .* was requested") as error:
        pulling.pull(f"{REPOSITORY}@{digits}")
    assert error.value.hint is not None and "all 40 digits" in error.value.hint
    assert pulling.pull(f"{REPOSITORY}@{liar.commit}").version == "1.0.0"


def test_other_bytes_under_a_version_that_was_requested_before(liar: hostile.Registry) -> None:
    seen.remember(REGISTRY, REPOSITORY, version="2.0.0", digest="0" * 64)
    pulling.pull(f"{REPOSITORY}@1.0.0", out="old")
    liar.files = make_release(artifact=make_embedding(seed=9)).files
    with pytest.raises(RollbackError, match=r"another embedding under version 1\.0\.0"):
        pulling.pull(f"{REPOSITORY}@1.0.0", out="changed")


def test_without_the_version_an_older_one_is_refused(liar: hostile.Registry) -> None:
    seen.remember(REGISTRY, REPOSITORY, version="2.0.0", digest="0" * 64)
    with pytest.raises(RollbackError):
        pulling.pull(REPOSITORY)
    with pytest.raises(RollbackError):
        pulling.pull(f"{REPOSITORY}@main")
    # nor does a pull on purpose, earlier, allow one that nobody asked for
    pulling.pull(f"{REPOSITORY}@1.0.0", out="old")
    with pytest.raises(RollbackError):
        pulling.pull(REPOSITORY, out="new")
    with pytest.raises(RollbackError):
        pulling.verify_path(REPOSITORY)
    assert pulling.verify_path("old").version == "1.0.0"


def test_another_card_under_a_version_that_was_accepted(liar: hostile.Registry) -> None:
    """The publisher signs two releases called 1.0.0, and shows each site another one."""
    pulling.pull(REPOSITORY, out="first")
    before = Path("first/README.md").read_bytes()
    for changes in ({"licence": "MIT", "licence_link": "https://opensource.org/license/mit"}, {"audited": False}):
        liar.files = make_release(**changes).files
        for reference in (REPOSITORY, f"{REPOSITORY}@1.0.0"):
            with pytest.raises(AnotherReleaseError, match=r"another card under version 1\.0\.0"):
                pulling.pull(reference, out="first")
        assert Path("first/README.md").read_bytes() == before and Path("first/audit.json").exists()
    make_release(licence="MIT", licence_link="https://opensource.org/license/mit").to_folder(Path("copied"))
    with pytest.raises(AnotherReleaseError):
        pulling.verify_path("copied")


def test_the_same_version_without_the_audit_that_it_was_signed_with(liar: hostile.Registry) -> None:
    """The same bytes and the same card, and a second statement that names no audit."""
    release = make_release()
    pulling.pull(REPOSITORY, out="first")
    second = hostile_files.again(release, audit=None)
    liar.files = {name: data for name, data in second.items() if data is not None and "audit" not in name}
    with pytest.raises(AnotherReleaseError, match=r"without the audit under version 1\.0\.0"):
        pulling.pull(REPOSITORY, out="first")
    assert Path("first/audit.json").exists() and Path("first/attestations/audit.sigstore.json").exists()


def test_a_signer_that_is_not_the_last_one(liar: hostile.Registry, capsys: pytest.CaptureFixture[str]) -> None:
    """The registry's root key is stolen: the thief adds a key of their own to the victim's namespace."""
    pulling.pull(REPOSITORY, out="first")
    radboud = member("radboud", [(SITE, "publish"), (STRANGER, "publish")])
    liar.export = make_export(make_keyring(version=2, members=[radboud]))
    liar.files = make_release(key=STRANGER, version="1.0.1").files
    got = pulling.verify_path(REPOSITORY, policy="standard")
    assert got.unexpected is not None and got.unexpected.before == (SITE.fingerprint,)
    (said,) = [found for found in got.findings if found.check == "signer" and found.outcome == "warning"]
    assert STRANGER.fingerprint in said.text and SITE.fingerprint in said.text


def test_strict_refuses_a_signer_until_a_person_confirmed_it(liar: hostile.Registry) -> None:
    pulling.pull(REPOSITORY, out="first")
    radboud = member("radboud", [(SITE, "publish"), (STRANGER, "publish")])
    liar.export = make_export(make_keyring(version=2, members=[radboud]))
    liar.files = make_release(key=STRANGER, version="1.0.1").files
    with pytest.raises(PolicyRefusedError, match="trust refresh"):
        pulling.pull(REPOSITORY, out="first", require="known-signer")
    seen.confirm("http://127.0.0.1", [STRANGER.fingerprint])
    assert pulling.pull(REPOSITORY, out="first", require="known-signer").version == "1.0.1"


def test_a_key_that_was_only_warned_of_stays_unexpected(liar: hostile.Registry) -> None:
    """Somebody pulled in spite of the warning: that is no confirmation, neither for `strict` nor for the next pull."""
    pulling.pull(REPOSITORY, out="first")
    radboud = member("radboud", [(SITE, "publish"), (STRANGER, "publish")])
    liar.export = make_export(make_keyring(version=2, members=[radboud]))
    liar.files = make_release(key=STRANGER, version="1.0.1").files
    for _ in range(2):
        assert pulling.pull(REPOSITORY, out="first").unexpected is not None
    with pytest.raises(PolicyRefusedError, match="trust refresh"):
        pulling.pull(REPOSITORY, out="first", require="known-signer")
    seen.confirm("http://127.0.0.1", [STRANGER.fingerprint])
    assert pulling.pull(REPOSITORY, out="first", require="known-signer").unexpected is None


def test_a_key_that_nobody_confirmed_is_new(liar: hostile.Registry) -> None:
    seen.confirm(REGISTRY, [SITE.fingerprint])
    later = member("radboud", [(STRANGER, "publish")])
    liar.export = make_export(make_keyring(version=2, members=[later]))
    liar.files = make_release(key=STRANGER).files
    with pytest.raises(PolicyRefusedError, match="new in the keyring"):
        pulling.pull(REPOSITORY, require="known-signer")
    assert pulling.pull(REPOSITORY).unexpected is not None


def test_an_auditors_new_key_is_said_and_strict_waits_for_a_person(liar: hostile.Registry) -> None:
    """The thief of a root key adds a key of their own to an auditor that this site relies on."""
    release = make_release()
    liar.files = resigned(release, audit_key=AUDITOR).files
    assert pulling.pull(REPOSITORY, out="first").unexpected_auditors == ()
    nki = member("nki", [(AUDITOR, "audit"), (STRANGER, "audit")])
    liar.export = make_export(make_keyring(version=2, members=[member("radboud", [(SITE, "publish")]), nki]))
    thiefs = resigned(release, audit_key=STRANGER).files[release_files.AUDIT_BUNDLE]
    liar.files = {**liar.files, AUDITOR_BUNDLE: thiefs}
    for _ in range(2):  # that somebody pulled in spite of the warning is no confirmation
        got = pulling.pull(REPOSITORY, out="first")
        assert [(who, change.before) for who, change in got.unexpected_auditors] == [("nki", (AUDITOR.fingerprint,))]
        (said,) = [found for found in got.findings if found.check == "signer" and found.outcome == "warning"]
        assert "the auditor nki" in said.text and STRANGER.fingerprint in said.text
    assert got.to_json()["unexpected_auditors"][0]["fingerprint"] == STRANGER.fingerprint
    with pytest.raises(PolicyRefusedError, match="the auditor nki"):
        pulling.pull(REPOSITORY, out="first", require="known-signer")
    seen.confirm(REGISTRY, [STRANGER.fingerprint])
    assert pulling.pull(REPOSITORY, out="first", require="known-signer").unexpected_auditors == ()
