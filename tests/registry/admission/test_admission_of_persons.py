"""Nobody is named in what a registry takes: card, files beside it, words of a commit, names, the header."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from embhub.artifact import embedding
from embhub.formats import tensors
from embhub.release import signing
from embhub.release.files import CARD, Release
from embhub_registry.admission import rules as admission
from tests.support import releases
from tests.support.proposals import propose, refusal, resigned


@pytest.fixture(scope="module")
def release() -> Release:
    return releases.make_release()


def test_personal_data_in_a_readme_without_weights() -> None:
    assert refusal({CARD: b"# Scans of Mrs Jansen, born 1.2.1956\n"}).rule == "personal-data"
    digest = hashlib.sha256(b"x").hexdigest()
    admission.admit(propose({CARD: f"# Embedding {digest}\n".encode()}))


@pytest.mark.parametrize(
    "changes",
    [
        {"files": {".gitattributes": b"# of Mrs Jansen, born 1.2.1956\n"}},
        {"words": "First release\nMade for Mrs Jansen"},
        {"words": "MRN 1234567"},
        {"repository": "radboud/john-smith-1956-03-02"},
        {"repository": "radboud/scan-of-12345678"},
    ],
    ids=str,
)
@pytest.mark.parametrize("weights", [True, False])
def test_personal_data_beside_the_card(release: Release, changes: dict[str, Any], weights: bool) -> None:
    changes = dict(changes)
    files = {**(release.files if weights else {}), **changes.pop("files", {})}
    denied = refusal(files, **changes)
    assert denied.rule == "personal-data"
    assert not any(word in denied.message.lower() for word in ("jansen", "1234567", "smith")), "the value is not told"


def test_digests_in_words_are_no_record_numbers(release: Release) -> None:
    words = f"Publish {release.embedding.digest}, signed by {releases.SITE.fingerprint}, after {'12345678' * 5}"
    admission.admit(propose(release.files, words=words))


def test_personal_data_in_a_readme_with_weights(release: Release) -> None:
    readme = release.files[CARD] + b"\nScans of Mrs Jansen, born 1.2.1956\n"
    assert refusal(resigned(release, card=readme)).rule == "personal-data"
    tagged = release.files[CARD].replace(b"tags:\n", b"tags:\n- Mrs Jansen\n", 1)
    assert refusal(resigned(release, card=tagged)).rule == "personal-data"


@pytest.mark.parametrize("place", ["training", "title", "token"])
def test_personal_data_in_the_header(release: Release, place: str) -> None:
    made = releases.make_embedding(token="<john-smith-1956>" if place == "token" else "<cspca>")
    metadata = dict(made.metadata)
    if place == "training":
        metadata["embhub.training"] = json.dumps({**made.training, "initial_word": "MRN 1234567"})
    if place == "title":
        metadata["modelspec.title"] = "Mrs Jansen, born 1.2.1956"
    artifact = embedding.parse(tensors.serialize(dict(made.tensors), metadata))
    with pytest.MonkeyPatch.context() as patch:  # a client that does not look before it signs
        patch.setattr(signing, "check_persons", lambda release: None)
        files = releases.make_release(artifact=artifact, audited=False).files
    assert refusal(files).rule == "personal-data"
