"""What `verify` says of the build that a claim states: known or unknown, never safe, and never a refusal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.privacy.claim import Build
from embhub.release.checks.claims import say_build
from embhub.release.files import Release
from embhub.site import builds
from embhub.site.builds import Installed
from tests.support.claims import make_claim, make_private_release
from tests.support.releases import ROOT, make_export, make_release

HERE, OLD, OTHER = "ab" * 32, "cd" * 32, "ef" * 32
KNOWN = {"0.1.0": OLD}
RUNNING = Installed("0.2.0", "wheel", HERE)
NO_PROOF = "That is no proof: a changed program can state any digest."


@pytest.mark.parametrize(
    ("version", "kind", "digest", "said"),
    [
        ("0.1.0", "wheel", OLD, "known build, a released one: by the claim it was embhub 0.1.0 with the digest cdcd"),
        ("0.2.0", "wheel", HERE, "known build, the one that runs here: by the claim it was embhub 0.2.0 with"),
        ("0.1.0", "wheel", HERE, "unknown build: by the claim it was embhub 0.1.0 with the digest abab"),
        ("0.2.0", "wheel", OLD, "unknown build: by the claim it was embhub 0.2.0 with the digest cdcd"),
        ("0.1.0", "wheel", OTHER, "unknown build: by the claim it was embhub 0.1.0 with the digest efef"),
        ("0.1.0", "changed", OTHER, "unknown build: by the claim it was embhub 0.1.0 with the digest efef"),
        ("0.1.0", "changed", OLD, "unknown build: by the claim it was embhub 0.1.0 with the digest cdcd"),
        ("0.1.0", "development", None, "unknown build: by the claim it was a development build of embhub 0.1.0, which"),
    ],
)
def test_a_build_is_known_by_version_and_digest(version: str, kind: builds.Kind, digest: str | None, said: str) -> None:
    claim = make_claim(build=Build(version=version, kind=kind, digest=digest))
    (note,) = say_build(claim, known=KNOWN, running=RUNNING)
    assert (note.check, note.outcome) == ("build", "note")
    assert note.text.startswith(said) and note.text.endswith(NO_PROOF)
    assert "safe" not in note.text and ("not those of its wheel" in note.text) is (kind == "changed")


@pytest.mark.parametrize("kind", ["changed", "development"])
def test_what_is_no_unchanged_wheel_here_makes_no_build_known(kind: builds.Kind) -> None:
    claim = make_claim(build=Build(version="0.2.0", kind="wheel", digest=HERE))
    running = Installed("0.2.0", kind, HERE if kind == "changed" else None)
    (note,) = say_build(claim, known={}, running=running)
    assert note.text.startswith("unknown build: ")
    (note,) = say_build(claim, known={}, running=None)
    assert note.text.startswith("unknown build: ")


def test_a_claim_without_a_build_is_of_an_unknown_one_and_no_claim_has_none() -> None:
    (note,) = say_build(make_claim(), known=KNOWN, running=RUNNING)
    assert note.text == "unknown build: the claim does not state which build of embhub trained it"
    assert say_build("none", known=KNOWN, running=RUNNING) == ()


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site that trusts the registry's keyring and has no network."""
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EMBHUB_REGISTRY", "http://127.0.0.1:9")
    (tmp_path / "export.json").write_bytes(make_export())
    assert main(["trust", "add", str(tmp_path / "export.json"), "--fingerprint", ROOT.fingerprint]) == 0
    return tmp_path


def test_verify_says_it_and_refuses_nothing(
    reader: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(builds, "KNOWN", KNOWN)
    monkeypatch.setattr(builds, "installed", lambda: RUNNING)

    def notes(name: str, release: Release) -> list[str]:
        release.to_folder(reader / name)
        capsys.readouterr()
        assert main(["verify", str(reader / name), "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["verified"]
        return [found["text"] for found in said["findings"] if found["check"] == "build"]

    for number, (build, begin) in enumerate((
        (Build(version="0.1.0", kind="wheel", digest=OLD), "known build, a released one"),
        (Build(version="0.2.0", kind="wheel", digest=HERE), "known build, the one that runs here"),
        (Build(version="0.1.0", kind="changed", digest=OTHER), "unknown build: "),
        (Build(version="0.1.0", kind="development", digest=None), "unknown build: "),
    )):  # fmt: skip
        (told,) = notes(str(number), make_private_release(make_claim(build=build)))
        assert told.startswith(begin)
    (told,) = notes("absent", make_private_release())
    assert told.startswith("unknown build: the claim does not state")
    assert notes("plain", make_release()) == []
    assert main(["verify", "--all", str(reader / "0")]) == 0
    assert "known build, a released one" in capsys.readouterr().out
