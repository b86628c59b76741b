"""Our attestations in the hands of tools that we did not write: each runs where it is installed.

@sigstore/verify is looked for in the node_modules of EMBHUB_NODE_FOLDER, cosign on the path, securesystemslib and
sigstore_models in this environment.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from embhub.release import files as release_files
from embhub.site.signing.keys import SigningKey
from embhub.trust import kinds, p256
from tests.support import tools
from tests.support.releases import SITE, STRANGER, make_release

RELEASE = make_release()
BUNDLES = {release_files.PUBLISH_BUNDLE: kinds.PUBLISH.type, release_files.AUDIT_BUNDLE: kinds.AUDIT.type}
NODE_FOLDER = os.environ.get("EMBHUB_NODE_FOLDER", "")


def tampered(data: bytes) -> bytes:
    document = json.loads(data)
    payload = document["dsseEnvelope"]["payload"]
    document["dsseEnvelope"]["payload"] = ("f" if payload[0] == "e" else "e") + payload[1:]
    return json.dumps(document).encode()


@pytest.mark.parametrize("name", BUNDLES)
def test_securesystemslib(name: str) -> None:
    dsse = pytest.importorskip("securesystemslib.dsse")
    signer = pytest.importorskip("securesystemslib.signer")
    from securesystemslib.exceptions import VerificationError

    key = signer.SSlibKey.from_crypto(SITE.public, keyid=SITE.fingerprint)
    data = RELEASE.files[name]
    assert dsse.Envelope.from_dict(json.loads(data)["dsseEnvelope"]).verify([key], 1)
    with pytest.raises(VerificationError):
        dsse.Envelope.from_dict(json.loads(tampered(data))["dsseEnvelope"]).verify([key], 1)


@pytest.mark.parametrize("name", BUNDLES)
def test_sigstore_models(name: str) -> None:
    models = pytest.importorskip("sigstore_models.bundle.v1")
    assert models.Bundle.from_json(RELEASE.files[name]).media_type.endswith("v0.3+json")


@tools.needs(
    "@sigstore/verify",
    found=bool(NODE_FOLDER and shutil.which("node") and (Path(NODE_FOLDER) / "node_modules/@sigstore/verify").is_dir()),
)
@pytest.mark.parametrize("name", BUNDLES)
def test_sigstore_for_javascript(tmp_path: Path, name: str) -> None:
    def judge(data: bytes, key: SigningKey) -> int:
        (tmp_path / "bundle.json").write_bytes(data)
        (tmp_path / "key.pem").write_text(p256.public_pem(key.public))
        script = Path(__file__).with_name("check_bundle.mjs")
        command = ["node", str(script), str(tmp_path / "bundle.json"), str(tmp_path / "key.pem"), SITE.fingerprint]
        return subprocess.run(command, cwd=NODE_FOLDER, capture_output=True, timeout=60).returncode

    assert judge(RELEASE.files[name], SITE) == 0
    assert judge(RELEASE.files[name], STRANGER) != 0
    assert judge(tampered(RELEASE.files[name]), SITE) != 0


@pytest.mark.skipif(shutil.which("cosign") is None, reason="cosign is not installed")
@pytest.mark.parametrize("name", BUNDLES)
def test_cosign(tmp_path: Path, name: str) -> None:
    def judge(data: bytes, artifact: bytes) -> int:
        (tmp_path / "bundle.json").write_bytes(data)
        (tmp_path / "artifact").write_bytes(artifact)
        (tmp_path / "key.pem").write_text(SITE.public_pem)
        command = ["cosign", "verify-blob-attestation", "--key", str(tmp_path / "key.pem")]
        command += ["--bundle", str(tmp_path / "bundle.json"), "--type", BUNDLES[name], "--insecure-ignore-tlog"]
        return subprocess.run([*command, str(tmp_path / "artifact")], capture_output=True, timeout=60).returncode

    assert judge(RELEASE.files[name], RELEASE.embedding.data) == 0
    assert judge(RELEASE.files[name], b"something else") != 0
    assert judge(tampered(RELEASE.files[name]), RELEASE.embedding.data) != 0
