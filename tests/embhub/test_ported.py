"""What a registry and a reader ask of a port with a privacy claim; `test_ports_travel.py` makes and publishes one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from embhub.errors import PolicyError
from embhub.refusals import SourceMismatchError
from embhub.release import demands, verification
from embhub.release import files as release_files
from embhub.trust import advisories
from tests.support import releases
from tests.support.claims import make_private_release
from tests.support.ports import PORT, make_ported_release
from tests.support.proposals import propose, refusal
from tests.support.releases import NOW, REPOSITORY

PRIVATE = make_private_release()


def test_a_registry_takes_a_claim_with_its_source_alone() -> None:
    whole = make_ported_release(PRIVATE)
    assert propose(whole.files, repository=PORT).verified.digest == whole.embedding.digest
    files = {name: data for name, data in whole.files.items() if name != release_files.SOURCE_BUNDLE}
    refused = refusal(files, repository=PORT)
    assert refused.rule == "source-mismatch" and "embhub research port" in refused.hint


def test_a_withdrawn_source_withdraws_its_port() -> None:
    key = releases.make_key("advisories")
    named = {"fingerprint": key.fingerprint, "public_key_pem": key.public_pem}
    ring = releases.make_trust(releases.make_keyring(online={"advisories": named}))
    entry = advisories.new(
        scope="bytes", by="publisher", namespace="radboud", repository=REPOSITORY, version="1.0.0",
        digest=PRIVATE.embedding.digest, reason="consent withdrawn", published="2026-11-20T10:00:00Z",
    )  # fmt: skip
    issued = advisories.build(ring.origin, number=1, issued="2026-11-20T10:00:00Z", entries=(entry,))
    trust = replace(ring, advisories=issued.sign(key))
    release = make_ported_release(PRIVATE)
    verified = verification.verify(release, trust=trust, now=NOW, repository=PORT)
    assert verified.withdrawn == (entry,)
    assert any("of the source: withdrawn" in finding.text for finding in verified.findings)
    with pytest.raises(PolicyError):
        demands.refuse_unpinned(verified, commit="0" * 40)  # as `pull` does
    with pytest.raises(SourceMismatchError):
        verification.verify(release, trust=trust, now=NOW, repository=PORT, source_trust=[])
