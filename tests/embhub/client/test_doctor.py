"""`embhub doctor` says of a registry's root, and of a site's log policy, what `verify` would."""

from __future__ import annotations

from pathlib import Path

import pytest

from embhub.client.member import doctor
from embhub.client.pulling import pull as pulling
from embhub.client.trusted import roots
from embhub.errors import VerificationError
from embhub.site.pins import trust_store
from tests.embhub.site.test_replaced_roots import FIRST, NAME, ORIGIN, THIEF, by_the_old_root, moved, pin
from tests.support import hostile, vouching
from tests.support.releases import REPOSITORY, ROOT, make_export, make_release


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def of_the_registry(url: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = [
        (one.outcome, one.text) for one in doctor.examine(registry=url) if one.check == "registry"
    ]
    assert found.pop() == ("note", "no access token; public embeddings need none")
    return found[1:]


def test_a_late_address_of_a_replaced_root_is_a_warning_as_for_verify() -> None:
    with hostile.serve() as mirror:
        mirror.export, mirror.files = make_export(FIRST), make_release(registry=ORIGIN).files
        pin(NAME)
        roots.add_root(mirror.url, fingerprint=ROOT.fingerprint)
        assert [outcome for outcome, _ in of_the_registry(mirror.url)] == ["ok"]
        trust_store.refresh(NAME, moved())
        (said, keyring) = of_the_registry(mirror.url)
        assert keyring[1].startswith("keyring unknown: the keyring was issued on")
        (root,) = (
            one for one in pulling.fetch(REPOSITORY, registry=mirror.url).verified.findings if one.check == "root"
        )
        assert said == ("warning", root.text) and "still shows the keyring of the root" in root.text


@pytest.mark.parametrize(
    ("export", "followed"),
    [(by_the_old_root(), False), (make_export(FIRST, root=THIEF), False), (make_export(FIRST), True)],
    ids=["a new keyring by the old root", "another root", "an older keyring"],
)
def test_what_verify_would_refuse_is_failed(export: bytes, followed: bool) -> None:
    with hostile.serve() as late:
        late.export, late.files = make_export(FIRST), make_release(registry=ORIGIN).files
        pin(NAME)
        roots.add_root(late.url, fingerprint=ROOT.fingerprint)
        trust_store.refresh(NAME, moved())
        if followed:
            trust_store.refresh(late.url, moved())
        late.export = export
        ((outcome, text),) = of_the_registry(late.url)
        with pytest.raises(VerificationError) as refused:
            pulling.fetch(REPOSITORY, registry=late.url)
        assert outcome == "failed" and refused.value.message in text


def test_a_change_of_root_is_said_and_not_followed() -> None:
    with hostile.serve() as registry:
        registry.export, registry.files = make_export(FIRST), make_release(registry=ORIGIN).files
        roots.add_root(registry.url, fingerprint=ROOT.fingerprint)
        registry.export = moved()
        (said, _) = of_the_registry(registry.url)
        assert said[0] == "note" and "which the pinned one signed" in said[1]
        assert [row.root_fingerprint for row in trust_store.list_roots()] == [ROOT.fingerprint], "nothing is changed"


@pytest.mark.parametrize(
    ("policy", "log_policy", "outcome"),
    [
        ("policy: standard\n", None, None),
        ("policy: strict\n", None, "warning"),
        ("require: [witnessed]\n", "quorum none\n", "warning"),
        ("policy: strict\n", "quorum nobody\n", "failed"),
        ("policy: strict\n", "", "ok"),
    ],
)
def test_a_policy_that_asks_for_witnesses_needs_some(
    home: Path, policy: str, log_policy: str | None, outcome: str | None
) -> None:
    (home / "config").mkdir(parents=True)
    (home / "config/policy.yaml").write_text(policy)
    if log_policy is not None:
        path = vouching.rely(home)
        path.write_text(log_policy or path.read_text())
    said = [one.outcome for one in doctor.examine(offline=True) if "log policy" in one.text or "witness" in one.text]
    assert said == ([] if outcome is None else [outcome])
