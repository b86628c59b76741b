"""Manifests as c2pa's own reader reads them, signed with keys from a file, an agent, and with a site's own chain."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import c2pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from embhub.errors import ConfigError, PrivacyError, UsageError
from embhub.formats import plain_png as sheets
from embhub.formats import synthetic_mark
from embhub.images.c2pa_manifests import certificate, signing, statement
from embhub.images.c2pa_manifests.reading import ManifestReader
from embhub.images.c2pa_manifests.signing import ManifestSigner
from embhub.site.signing import keys, signing_keys
from tests.embhub.images.c2pa_manifests.conftest import BASE, EMBEDDING, SAID, Signed, plain_png, signer_of
from tests.support import tools
from tests.support.releases import SITE, STRANGER, make_sheet, make_trust


def read(data: bytes, **settings: Any) -> dict[str, Any]:
    with c2pa.Reader("image/png", io.BytesIO(data), context=c2pa.Context.from_dict({"version": 1, **settings})) as one:
        found: dict[str, Any] = json.loads(one.json())
    return found


def test_another_program_reads_it(signed: Signed) -> None:
    """`Valid` by c2pa's reader with its own settings: whole, and signed by nobody whom it trusts."""
    found = read(signed().read_bytes())
    assert found["validation_state"] == "Valid"
    assert [one["code"] for one in found["validation_status"]] == ["signingCredential.untrusted"]
    manifest = found["manifests"][found["active_manifest"]]
    said = {one["label"]: one["data"] for one in manifest["assertions"]}
    (action,) = said["c2pa.actions.v2"]["actions"]
    assert action["action"] == "c2pa.created" and action["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert said["org.embhub.generation"] == {"schema": "embhub.generation/1", **SAID.facts}
    assert all(one["created"] for one in manifest["assertions"]), "the signer stands behind both"


def test_a_manifest_alone_says_that_an_image_is_synthetic(signed: Signed) -> None:
    """A private training refuses it, even where no other metadata is left."""
    found = synthetic_mark.read(without_xmp(signed().read_bytes()))
    assert found.source_type is None and found.manifest and found.synthetic


def without_xmp(png: bytes) -> bytes:
    begin = png.index(b"iTXt") - 4
    return png[:begin] + png[begin + 12 + int.from_bytes(png[begin : begin + 4], "big") :]


def test_who_trusts_the_key_trusts_the_manifest(signed: Signed) -> None:
    anchors = {"trust": {"user_anchors": certificate.anchor(SITE.public), "trust_config": "1.3.6.1.5.5.7.3.4"}}
    assert read(signed().read_bytes(), **anchors)["validation_state"] == "Trusted"
    assert read(signed(STRANGER).read_bytes(), **anchors)["validation_state"] == "Valid"


def test_neither_a_thumbnail_nor_a_time(signed: Signed) -> None:
    data = signed().read_bytes()
    manifest = read(data)["manifests"].popitem()[1]
    assert "thumbnail" not in json.dumps(manifest) and not manifest.get("ingredients")
    assert "time" not in manifest["signature_info"]
    assert len(data) - len(plain_png()) < 20_000
    when = set(re.findall(rb"20[0-9]{2}-[0-9]{2}-[0-9]{2}", data))
    assert when == {b"2008-02-29"}, "the name of an IPTC namespace, and no other date"


def test_a_certificate_says_nothing_of_when() -> None:
    one, other = (x509.load_pem_x509_certificate(certificate.issue(SITE).encode()) for _ in range(2))
    assert one.tbs_certificate_bytes == other.tbs_certificate_bytes
    one.verify_directly_issued_by(x509.load_pem_x509_certificate(certificate.anchor(SITE.public).encode()))
    name = one.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    assert certificate.claimed_key(str(name)) == SITE.fingerprint


def test_a_sheet_of_samples_takes_no_manifest() -> None:
    sheet = make_sheet()
    sheets.check(sheet)
    with pytest.raises(sheets.NotPlainPngError):
        sheets.check(signer_of().sign_image(sheet, SAID))


def test_no_key_no_signer() -> None:
    assert signing.open_signer(None) is None
    with pytest.raises(UsageError, match="without --c2pa"):
        signing.open_signer(None, certificates=Path("chain.pem"))


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(UsageError, match="C2PA manifests need c2pa-python"):
        signing.open_signer("default")
    assert not ManifestReader.available()


@pytest.mark.usefixtures("home")
def test_a_key_behind_a_passphrase() -> None:
    keys.generate("second", passphrase="correct horse")
    opened = signing.open_signer("second", ask_passphrase=lambda _: "correct horse")
    assert opened is not None
    assert read(opened.sign_image(plain_png(), SAID))["validation_state"] == "Valid"


@pytest.mark.usefixtures("home")
def test_a_key_in_an_agent_and_an_agent_that_is_gone(
    socket_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools.require("ssh-agent")
    address, file = socket_folder / "agent", tmp_path / "ecdsa"
    running = subprocess.Popen(["ssh-agent", "-D", "-a", str(address)], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(address))
    try:
        while not address.exists():
            assert running.poll() is None
        subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(file)], check=True)
        subprocess.run(["ssh-add", "-q", str(file)], check=True)
        listed = subprocess.run(["ssh-add", "-l"], check=True, capture_output=True, text=True).stdout
        signing_keys.add_external("agent", f"agent:{listed.split()[1]}")
        opened = signing.open_signer("agent")
        assert opened is not None
        assert read(opened.sign_image(plain_png(), SAID))["validation_state"] == "Valid"
    finally:
        running.kill()
        running.wait()
    with pytest.raises(ConfigError, match="agent"):
        opened.sign_image(plain_png(), SAID)


def chain(path: Path, key: ec.EllipticCurvePublicKey, *, usage: x509.ObjectIdentifier) -> tuple[Path, Path]:
    """A hospital's own authority, and its certificate for a key."""
    authority = ec.generate_private_key(ec.SECP256R1())
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("Hospital CA", "Radiology")]

    def issue(subject: x509.Name, public: ec.EllipticCurvePublicKey, *, ca: bool) -> bytes:
        builder = certificate._begin(subject, names[0], public, authority=ca)
        builder = builder if ca else builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        made = builder.sign(authority, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM)

    root, leaf = issue(names[0], authority.public_key(), ca=True), issue(names[1], key, ca=False)
    (path / "chain.pem").write_bytes(leaf + root)
    (path / "root.pem").write_bytes(root)
    return path / "chain.pem", path / "root.pem"


def test_a_chain_of_the_site_s_own(tmp_path: Path) -> None:
    pem, root = chain(tmp_path, SITE.public, usage=ExtendedKeyUsageOID.EMAIL_PROTECTION)
    image = tmp_path / "image.png"
    image.write_bytes(ManifestSigner(SITE, certificate.read_chain(pem, SITE)).sign_image(plain_png(), SAID))
    with ManifestReader([make_trust()]) as reader:
        assert reader.read(image).signer == "unknown"
    with ManifestReader(anchors=certificate.read_anchors(root)) as reader:
        found = reader.read(image)
    assert (found.signer, found.named, found.embeddings, found.base) == ("accepted", "Radiology", (EMBEDDING,), BASE)
    with pytest.raises(UsageError, match="of another key"):
        certificate.read_chain(pem, STRANGER)


def test_a_certificate_that_is_none_for_c2pa(tmp_path: Path) -> None:
    pem, _ = chain(tmp_path, SITE.public, usage=ExtendedKeyUsageOID.SERVER_AUTH)
    with pytest.raises(ConfigError, match="cannot be signed"):
        ManifestSigner(SITE, certificate.read_chain(pem, SITE)).sign_image(plain_png(), SAID)


@pytest.mark.parametrize("content", [b"", b"no PEM", SITE.public_pem.encode(), b"x" * 200_000])
def test_what_is_no_chain(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "chain.pem"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="certificates"):
        certificate.read_chain(path, SITE)
    with pytest.raises(UsageError, match="cannot read"):
        certificate.read_chain(tmp_path / "nowhere.pem", SITE)


def test_no_name_of_a_person_in_a_manifest() -> None:
    statement.check_prompts(["prostate mri, <cspca>"])
    with pytest.raises(PrivacyError):
        statement.check_prompts(["mri", "mri of patient Jan Jansen, born 1958-03-12"])
