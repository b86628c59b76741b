"""One command checks each signature once: what came and what is kept here are opened and handed on."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.client.wire.hub import Hub
from embhub.release.checks import attested
from embhub.trust import bundle
from tests.support.releases import AUDITOR, SITE, make_embedding, make_release, make_trust, resigned
from tests.support.servers import running_registry
from tests.support.sites import new_key, open_site

COUNTED = """
import sys
from embhub.trust import p256

checked, verify = [], p256.verify
p256.verify = lambda message, **by: (checked.append(message), verify(message, **by))
from embhub.__main__ import main

print(main(sys.argv[1:]), len(checked))
"""


def count_checked(*words: str | Path) -> int:
    """How many signatures a command checks, which has to succeed."""
    done = subprocess.run(
        [sys.executable, "-c", COUNTED, *map(str, words)], capture_output=True, text=True, timeout=120, check=True
    )
    code, checked = done.stdout.splitlines()[-1].split()
    assert code == "0", done.stderr
    return int(checked)


def test_a_push_checks_six_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the keyring, its timestamps kept and new, advisories, and the release that is sent."""
    with running_registry(tmp_path / "hub") as registry:
        site = open_site(registry, tmp_path / "site", namespace="radboud", user="alice").enter(monkeypatch)
        new_key(registry, namespace="radboud")
        assert 0 < count_checked("push", site.make()) <= 6


def test_a_pull_of_a_release_with_two_audits_checks_eight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the keyring, its timestamps kept and new, advisories, release, model and audits."""
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    with running_registry(tmp_path / "hub") as registry:
        registry.add_key(SITE, namespace="radboud")
        registry.add_key(AUDITOR, namespace="nki", role="audit")
        registry.add_user("alice", namespace="radboud")
        token = registry.ask("token", "new", "alice")["token"]
        release = resigned(make_release(repository="radboud/first", artifact=make_embedding(seed=4)), audit_key=AUDITOR)
        Hub(registry.url, token=token).push(release, "radboud/first")
        invited = registry.ask("invite", "make", "--namespace", "radboud", "--role", "publisher")
        assert main(["login", "--invite", invited["invites"][0]["invite"]]) == 0
        pull = ("pull", "radboud/first", "--registry", registry.url, "--out", tmp_path / "got")
        assert count_checked(*pull) == 8


def test_an_audit_of_the_release_counts_in_the_list_as_it_was_checked() -> None:
    release = resigned(make_release(), audit_key=AUDITOR)
    digest, trust = release.embedding.digest, make_trust()
    envelopes = [
        bundle.parse(data).envelope for path, data in release.files.items() if path.startswith("attestations/audit")
    ]
    known = {one: attested.read(bundle.to_json(one), digest=digest, trusts=[trust]) for one in envelopes}
    assert len(known) == 2
    rows = [{"bundle": json.loads(bundle.to_json(envelope))} for envelope in known]
    answer = json.dumps({"embedding": digest, "audits": rows}).encode()
    assert attested.parse(answer, digest=digest, trusts=[], checked=known) == (attested.newest(known.values()), 0)


def test_another_signature_under_the_same_statement_is_checked() -> None:
    release = resigned(make_release(), audit_key=AUDITOR)
    digest, trust = release.embedding.digest, make_trust()
    (data,) = (data for path, data in release.files.items() if path.endswith("audit.nki.sigstore.json"))
    envelope = bundle.parse(data).envelope
    known = {envelope: attested.read(data, digest=digest, trusts=[trust])}
    broken = replace(envelope, signature=envelope.signature[:-1] + bytes([envelope.signature[-1] ^ 1]))
    answer = json.dumps({"embedding": digest, "audits": [{"bundle": json.loads(bundle.to_json(broken))}]}).encode()
    assert attested.parse(answer, digest=digest, trusts=[trust], checked=known) == ((), 1)
