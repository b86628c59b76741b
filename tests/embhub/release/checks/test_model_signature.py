"""The model signature beside ours: checked where it is there, by the key that signed the release."""

from __future__ import annotations

from typing import Any

import pytest

from embhub.refusals import (
    BadSignatureError,
    DigestMismatchError,
    MalformedBundleError,
    ReleaseRefusedError,
    UnknownSignerError,
    WrongPredicateError,
)
from embhub.release import files as release_files
from embhub.release import verification
from embhub.release.checks import model_signature
from embhub.release.files import Release
from embhub.trust import bundle, statement
from embhub.trust.statement import Statement
from tests.support.proposals import refusal
from tests.support.releases import (
    NOW,
    OTHER_SITE,
    REPOSITORY,
    SITE,
    SigningKey,
    make_embedding,
    make_release,
    make_trust,
)

GOOD = make_release()
FILES = {name: data for name, data in GOOD.files.items() if not name.startswith("attestations/")}


def made(files: dict[str, bytes] = FILES, *, key: SigningKey = SITE) -> bytes:
    return model_signature.build(files, repository=REPOSITORY, key=key)


def saying(change: Any, *, key: SigningKey = SITE, kind: str = "") -> bytes:
    """A signature by the publisher over a predicate that was changed."""
    signed = bundle.parse(made()).statement
    predicate = {**signed.predicate, **change}
    other = Statement(signed.digest, kind or signed.predicate_type, predicate, signed.subject_name)
    written = bundle.to_json(statement.sign(other, key=key))
    hint = model_signature.hint_of(SITE.public_pem).encode()
    return written.replace(SITE.fingerprint.encode(), hint)


ROWS = [dict(row) for row in bundle.parse(made()).statement.predicate["resources"]]
BAD: dict[str, tuple[bytes, type[ReleaseRefusedError]]] = {
    "another key": (made(key=OTHER_SITE), UnknownSignerError),
    "another key under this key's hint": (
        made(key=OTHER_SITE).replace(
            model_signature.hint_of(OTHER_SITE.public_pem).encode(), model_signature.hint_of(SITE.public_pem).encode()
        ),
        BadSignatureError,
    ),
    "our kind of hint": (bundle.to_json(GOOD.publish_bundle.envelope), UnknownSignerError),
    "another embedding": (made({**FILES, release_files.EMBEDDING: make_embedding(seed=3).data}), DigestMismatchError),
    "another card": (made({**FILES, release_files.CARD: b"#"}), DigestMismatchError),
    "a file that is not there": (made({**FILES, "model.bin": b"x"}), DigestMismatchError),
    "without the embedding": (made({release_files.CARD: FILES[release_files.CARD]}), DigestMismatchError),
    "no resources": (saying({"resources": []}), DigestMismatchError),
    "resources that are none": (saying({"resources": "all"}), DigestMismatchError),
    "a name twice": (saying({"resources": [*ROWS, ROWS[0]]}), DigestMismatchError),
    "a file less than the subject": (saying({"resources": ROWS[:2]}), DigestMismatchError),
    "another algorithm": (saying({"resources": [{**row, "algorithm": "md5"} for row in ROWS]}), DigestMismatchError),
    "another predicate": (saying({}, kind="https://example.org/other/v1"), WrongPredicateError),
    "no bundle": (b"{}", MalformedBundleError),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_one_that_fails_is_refused_by_client_and_registry(case: str) -> None:
    data, error = BAD[case]
    release = Release.from_files({**GOOD.files, release_files.MODEL_BUNDLE: data})
    with pytest.raises(error) as caught:
        verification.verify(release, trust=make_trust(), now=NOW)
    assert caught.value.exit_code == 4
    assert refusal(release.files).rule == error.rule


def test_a_release_without_one_is_as_good() -> None:
    files = {name: data for name, data in GOOD.files.items() if name != release_files.MODEL_BUNDLE}
    verified = verification.verify(Release.from_files(files), trust=make_trust(), now=NOW)
    assert not any(finding.check == "model-signature" for finding in verified.findings)
