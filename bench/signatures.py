"""Verification: one signed envelope beside securesystemslib, and how many whole releases are verified in a second."""

from __future__ import annotations

import json

from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]  # public, but not re-exported for mypy

from bench.measurement import clocked, compare
from bench.scale import Scale
from bench.table import Section, timed
from embhub.release import files as release_files
from embhub.release import verification
from embhub.release.files import Release
from embhub.trust import dsse, p256
from tests.support.releases import NOW, SITE, make_release, make_trust

PEER = (
    "Peer: securesystemslib's DSSE envelope, and for a whole release the bare ECDSA checks of its signatures by "
    "`cryptography`: the floor that no verifier can go below."
)


def run(scale: Scale) -> Section:
    """An envelope parsed and its signature checked; a release from bytes to the decision."""
    release = make_release()
    sources = [release.files[name] for name in (release_files.PUBLISH_BUNDLE, release_files.AUDIT_BUNDLE)]
    envelopes = [json.dumps(json.loads(source)["dsseEnvelope"]).encode() for source in sources]
    one, key = envelopes[0], SSlibKey.from_crypto(SITE.public, keyid=SITE.fingerprint)
    trust, signed = make_trust(), [dsse.parse(envelope) for envelope in envelopes]

    def check_floor() -> None:
        for envelope in signed:
            p256.verify(envelope.pae, signature=envelope.signature, key=SITE.public)

    arms = (
        (
            "an envelope: parse, check the signature",
            lambda: dsse.verify(dsse.parse(one), public_key=SITE.public),
            lambda: Envelope.from_dict(json.loads(one)).verify([key], 1),
        ),
        (
            "a release: two signatures, file, card, every figure of the audit",
            lambda: verification.verify(Release.from_files(release.files), trust=trust, now=NOW),
            check_floor,
        ),
    )
    rows = []
    for what, ours, peer in arms:
        pair = clocked(ours, times=scale.calls), clocked(peer, times=scale.calls)
        rows.append(timed(what, compare(*pair, repeats=scale.repeats), per_second=True))
    return Section("Verifying", PEER, tuple(rows), (f"{scale.calls} calls a turn, from memory.",))
