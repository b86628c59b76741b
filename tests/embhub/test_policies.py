"""What a policy refuses, from command line to exit code: 8 for the policy, 4 for tampering, 0 where it is met."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import embhub
from embhub.__main__ import main
from embhub.client.pulling import pull as pulling
from embhub.client.pulling.opening import open_path
from embhub.client.wire.hub import Hub
from embhub.errors import ConfigError
from embhub.release import files as release_files
from embhub.release.demands import PolicyRefusedError
from tests.support import logs, vouching
from tests.support.between import LEAKING, make_leaking_release
from tests.support.releases import AUDITOR, REPOSITORY, SITE, make_embedding, make_release, resigned
from tests.support.servers import RunningRegistry, running_registry
from tests.support.showroom import make_claim
from tests.support.showroom import make_release as make_claimed
from tests.support.sites import Site

OOPS, PRIVATE, CONFIRMED = "radboud/oops", "radboud/prostate-dp", "radboud/confirmed"


@dataclass(frozen=True)
class Offer:
    """A registry that offers a plain, a leaking, a countersigned and a differentially private release, and OOPS."""

    registry: RunningRegistry
    token: str


@pytest.fixture(scope="module")
def offer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Offer]:
    with running_registry(tmp_path_factory.mktemp("hub")) as registry:
        registry.add_key(SITE, namespace="radboud")
        registry.add_key(AUDITOR, namespace="nki", role="audit")
        token = registry.add_user("alice", namespace="radboud")
        hub = Hub(registry.url, token=token)
        hub.push(make_release(), REPOSITORY)
        hub.push(make_leaking_release(), LEAKING)
        oops = make_leaking_release()
        hub.push(resigned(oops, publish={"repository": OOPS}, vouched={"repository": OOPS}), OOPS)
        registry.run("curate", "yank", OOPS, "--reason", "the labels were wrong")
        claimed = make_claimed(
            PRIVATE, seed=6, claim=make_claim(), audited=False, n_patients="400-500", n_images="400-900",
            max_images_per_patient=2,
        )  # fmt: skip
        hub.push(claimed, PRIVATE)
        confirmed = make_release(repository=CONFIRMED, artifact=make_embedding(seed=4))
        hub.push(resigned(confirmed, audit_key=AUDITOR), CONFIRMED)
        vouching.begin(registry)
        yield Offer(registry, token)


@pytest.fixture
def reader(offer: Offer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(tmp_path / "reader", offer.registry.url).enter(monkeypatch)
    site.trust(offer.registry)
    vouching.rely(site.folder / "home")
    return site


STRICT = ("--policy", "strict")


@pytest.mark.parametrize(
    ("repository", "code"), [(OOPS, 8), (LEAKING, 8), (REPOSITORY, 8), (PRIVATE, 0), (CONFIRMED, 0)]
)
def test_strict(reader: Site, repository: str, code: int) -> None:
    assert main(["verify", repository, *STRICT]) == code
    assert main(["pull", repository, "--out", "got", *STRICT]) == code
    assert Path("got").exists() == (code == 0), "a pull that the policy refuses writes nothing"
    if code == 0:
        assert main(["verify", "got", *STRICT]) == 0


@pytest.mark.parametrize("policy", [None, "quorum none\n"], ids=["no log policy", "a quorum of none"])
def test_strict_asks_for_a_quorum_of_witnesses(
    reader: Site, policy: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """A registry alone may show this site another history than everybody else."""
    assert main(["pull", CONFIRMED, *STRICT]) == 0
    path = Path("home/config/log-policy")
    path.unlink() if policy is None else path.write_text(policy)
    capsys.readouterr()
    assert main(["verify", CONFIRMED, *STRICT]) == 8
    said = capsys.readouterr().err
    assert "names no quorum of witnesses" in said and "embhub log policy" in said and "another release" not in said
    assert main(["verify", "confirmed", *STRICT]) == 8, "a folder is judged by today's log policy"
    assert main(["verify", CONFIRMED, *STRICT, "--json"]) == 8
    assert json.loads(capsys.readouterr().out)["unmet"] == ["witnessed"]
    assert main(["verify", CONFIRMED, "--require", "logged"]) == 0, "the log alone may be demanded"


def test_strict_refuses_where_the_sites_witnesses_did_not_cosign(reader: Site) -> None:
    vouching.rely(reader.folder / "home", key=logs.witness_key("watch.lumc.example", 8))
    for words in (STRICT, ("--require", "witnessed"), ("--require", "logged")):
        assert main(["verify", CONFIRMED, *words]) == 8


def test_every_reason_is_named_for_people_and_programs(reader: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", OOPS, *STRICT]) == 8
    said = capsys.readouterr().err
    assert "the labels were wrong" in said and "leak-detected" in said and "countersigned its audit" in said
    assert "not tampering" in said
    assert main(["verify", OOPS, *STRICT, "--json"]) == 8
    document = json.loads(capsys.readouterr().out)
    assert document["verified"] is False and document["rule"] == "policy"
    assert document["unmet"] == ["not-yanked", "no-leak", "confirmed"]


@pytest.mark.parametrize(
    ("repository", "demands", "code"),
    [
        (PRIVATE, "epsilon<=4,not-yanked", 0),
        (PRIVATE, "epsilon<=3", 8),
        (PRIVATE, "countersigned", 8),
        (CONFIRMED, "countersigned,no-leak,not-yanked", 0),
        pytest.param(CONFIRMED, "countersigned,no-leak,not-yanked,epsilon<=4", 8, marks=pytest.mark.thorough),
        (LEAKING, "not-yanked", 0),
        (REPOSITORY, "no-leaks", 2),
    ],
)
def test_single_demands(reader: Site, repository: str, demands: str, code: int) -> None:
    assert main(["verify", repository, "--require", demands]) == code
    assert main(["pull", repository, "--require", demands]) == code


def test_tampering_stays_apart(reader: Site) -> None:
    assert main(["pull", CONFIRMED]) == 0
    card = Path("confirmed", release_files.CARD)
    card.write_bytes(card.read_bytes().replace(b"one scanner", b"two scanner"))
    assert main(["verify", "confirmed", *STRICT]) == 4


def test_in_python(reader: Site) -> None:
    with pytest.raises(PolicyRefusedError) as caught:
        embhub.pull(REPOSITORY, policy="strict", require=["countersigned"])
    assert caught.value.unmet == ("confirmed", "countersigned") and caught.value.exit_code == 8
    assert caught.value.verified.repository == REPOSITORY
    assert embhub.verify(PRIVATE, require="epsilon<=4").policy.name == "standard + epsilon<=4"


def test_a_folder_remembers_what_was_taken_back_after_it_was_pulled(
    offer: Offer, reader: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pull", CONFIRMED]) == 0
    offer.registry.run("curate", "yank", CONFIRMED, "--reason", "consent was withdrawn")
    try:
        assert main(["verify", "confirmed", *STRICT]) == 0, "nobody asked the registry yet"
        assert main(["pull", CONFIRMED, "--out", "again"]) == 8
        assert not Path("again").exists()
        assert main(["verify", "confirmed", *STRICT]) == 8
        capsys.readouterr()
        assert main(["verify", "confirmed"]) == 0
        said = capsys.readouterr()
        assert "consent was withdrawn" in said.err and "yanked" in said.out
        assert any("consent was withdrawn" in warning for warning in open_path("confirmed").warnings)
    finally:
        offer.registry.run("curate", "unyank", CONFIRMED)
    assert main(["verify", CONFIRMED, *STRICT]) == 0
    assert main(["verify", "confirmed", *STRICT]) == 0, "the registry recommends it again"


def test_a_pull_by_the_full_commit_warns_and_remembers(
    reader: Site, offer: Offer, capsys: pytest.CaptureFixture[str]
) -> None:
    _, commit = Hub(offer.registry.url).fetch(OOPS)
    assert main(["pull", f"{OOPS}@{commit}"]) == 0
    assert "the labels were wrong" in capsys.readouterr().err
    assert main(["verify", "oops", "--require", "not-yanked"]) == 8
    assert main(["verify", "oops"]) == 0
    assert "the labels were wrong" in capsys.readouterr().err


def write_policy(text: str) -> Path:
    path = Path("home/config/policy.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_policy_file_holds_for_the_site_and_no_option_lifts_it(reader: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["pull", REPOSITORY]) == 0
    path = write_policy("policy: strict\nrequire: [epsilon<=4]\n")
    for words in (["verify", CONFIRMED], ["verify", CONFIRMED, "--policy", "standard"], ["pull", CONFIRMED]):
        assert main(words) == 8
    assert main(["pull", PRIVATE]) == 0
    assert main(["verify", "prostate-cspca"]) == 8
    with pytest.raises(PolicyRefusedError):
        open_path("prostate-cspca")
    assert main(["show", CONFIRMED]) == 0, "looking is not using"
    elsewhere = path.rename(path.with_name("ours.yaml"))
    assert main(["verify", CONFIRMED]) == 0
    monkeypatch.setenv("EMBHUB_POLICY_FILE", str(elsewhere.absolute()))
    assert main(["verify", CONFIRMED]) == 8
    elsewhere.unlink()
    assert main(["verify", CONFIRMED]) == 7, "a policy file that went missing demands nothing less"


@pytest.mark.parametrize("text", ["policy: lax\n", "require: [safe]\n", "demand: all\n", "require: {a: b}\n", "- a\n"])
def test_a_policy_file_with_mistakes_is_refused(reader: Site, text: str) -> None:
    write_policy(text)
    with pytest.raises(ConfigError):
        pulling.pull(CONFIRMED)
