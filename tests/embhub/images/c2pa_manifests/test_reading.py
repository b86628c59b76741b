"""Manifests of anybody: whose they are, and what is forged, changed, broken or too large says nothing."""

from __future__ import annotations

import hashlib
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embhub.images.c2pa_manifests import certificate, reading
from embhub.images.c2pa_manifests.reading import Manifest, ManifestReader
from embhub.images.c2pa_manifests.signing import ManifestSigner
from embhub.images.c2pa_manifests.tables import SIDECAR, Tables
from embhub.images.manifests.manifest import NAME as TABLE
from embhub.trust import p256
from embhub.trust.keyring import Trust
from tests.embhub.images.c2pa_manifests.conftest import BASE, EMBEDDING, SAID, Signed, plain_png, signer_of
from tests.support.quick import examples
from tests.support.releases import OTHER_SITE, SITE, STRANGER, make_keyring, make_trust

NOTHING = ("", (), None)


@pytest.fixture(scope="module")
def reader() -> Iterator[ManifestReader]:
    with ManifestReader([make_trust()]) as opened:
        yield opened


def read(path: Path, *trusts: Trust) -> Manifest:
    with ManifestReader(trusts or [make_trust()]) as reader:
        return reader.read(path)


def said(found: Manifest) -> tuple[str, tuple[str, ...], str | None]:
    return found.source_type, found.embeddings, found.base


def test_whose_it_is(signed: Signed, reader: ManifestReader) -> None:
    for key, namespace in ((SITE, "radboud"), (OTHER_SITE, "lumc")):
        found = reader.read(signed(key))
        assert (found.state, found.signer) == ("whole", "known") and found.key and found.key.namespace == namespace
        assert said(found) == ("trainedAlgorithmicMedia", (EMBEDDING,), BASE)
    stranger = reader.read(signed(STRANGER))
    assert (stranger.state, stranger.signer, stranger.key) == ("whole", "unknown", None)


def test_a_stranger_who_takes_a_site_s_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: ManifestReader
) -> None:
    """The certificate names the site's key, and the stranger's key signed certificate and claim."""
    with monkeypatch.context() as patch:
        named = SITE.fingerprint
        patch.setattr(p256, "fingerprint", lambda _: named)
        pem = certificate.issue(STRANGER)
    image = tmp_path / "forged.png"
    image.write_bytes(ManifestSigner(STRANGER, pem).sign_image(plain_png(), SAID))
    found = reader.read(image)
    assert (found.state, found.signer) == ("broken", "forged") and "did not sign it" in found.why
    assert said(found) == NOTHING


def test_a_revoked_key(signed: Signed) -> None:
    row = {"fingerprint": SITE.fingerprint, "date": "2026-11-10T00:00:00Z", "reason": "stolen"}
    trust = make_trust(make_keyring(revoked=[row]))
    found = read(signed(), trust)
    assert found.signer == "revoked" and found.key is not None and found.key.revocation is not None
    assert read(signed(), make_trust(), trust).signer == "revoked", "whichever keyring says so"


def test_what_was_changed_says_nothing(signed: Signed, reader: ManifestReader) -> None:
    changes = {
        "a pixel": lambda data: data[:-30] + bytes([data[-30] ^ 1]) + data[-29:],
        "an assertion": lambda data: data.replace(EMBEDDING.encode(), b"0" * 64, 1),
        "the metadata": lambda data: data.replace(b'trainedAlgorithmicMedia"', b'digitalCapture"         '),
        "more at the end": lambda data: data + b"more",
    }
    for what, change in changes.items():
        found = reader.read(signed(change=change))
        assert found.state == "broken" and said(found) == NOTHING, what


def test_what_cannot_be_read_says_nothing(signed: Signed, tmp_path: Path, reader: ManifestReader) -> None:
    assert reader.read(signed(change=lambda data: data[:5000])).state == "unreadable"
    for name, content in (("empty.png", b""), ("bare.png", plain_png()), ("text.txt", b"no image")):
        (tmp_path / name).write_bytes(content)
        found = reader.read(tmp_path / name)
        assert found.state == "unreadable" and said(found) == NOTHING and found.why
    assert reader.read(tmp_path / "nowhere.png").state == "unreadable"


def test_a_manifest_of_another_image(signed: Signed, reader: ManifestReader) -> None:
    """Moved as it is into another file: its signature holds, its hash does not."""
    data = signed().read_bytes()
    (length,) = struct.unpack(">I", data[33:37])
    chunk, other = data[33 : 33 + 12 + length], plain_png(seed=1)
    assert chunk[4:8] == b"caBX"
    found = reader.read(signed(change=lambda _: other[:33] + chunk + other[33:]))
    assert found.state == "broken" and "changed after it was signed" in found.why


def test_an_image_of_20000_pixels(tmp_path: Path, reader: ManifestReader) -> None:
    png = plain_png()
    header = b"IHDR" + struct.pack(">II", 20_000, 20_000) + png[24:29]
    path = tmp_path / "huge.png"
    huge = png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]
    path.write_bytes(signer_of().sign_image(huge, SAID))
    assert reader.read(path).signer == "known", "its bytes are read, its pixels are not"


def test_files_that_are_too_large(signed: Signed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_BYTES", 1000)
    assert "too large" in read(signed()).why


def test_a_process_that_dies_takes_one_file_along(signed: Signed) -> None:
    with ManifestReader([make_trust()]) as reader:
        assert reader.read(signed()).state == "whole"
        assert reader._process is not None
        reader._process.kill()
        assert reader.read(signed()).state == "unreadable"
        assert reader.read(signed()).state == "whole"


def test_a_process_that_hangs(signed: Signed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PATIENCE", 0.0)
    assert read(signed()).state == "unreadable"


def test_nothing_is_fetched(tmp_path: Path, reader: ManifestReader) -> None:
    """A file may name the address of its manifest; nobody goes there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/manifest.c2pa"
        packet = (
            '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
            '<rdf:Description rdf:about="" xmlns:dcterms="http://purl.org/dc/terms/"'
            f' dcterms:provenance="{address}"/></rdf:RDF></x:xmpmeta>'
        )
        body = b"XML:com.adobe.xmp\0\0\0\0\0" + packet.encode()
        chunk = struct.pack(">I", len(body)) + b"iTXt" + body + struct.pack(">I", zlib.crc32(b"iTXt" + body))
        png = plain_png()
        path = tmp_path / "remote.png"
        path.write_bytes(png[:33] + chunk + png[33:])
        assert reader.read(path).state == "unreadable"
        with pytest.raises(TimeoutError):
            server.accept()


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(extra=st.binary(min_size=1, max_size=60), place=st.integers(0, 17_000))
def test_bytes_of_anybody_never_break_it(signed: Signed, reader: ManifestReader, extra: bytes, place: int) -> None:
    """Whatever is written over a signed image: it says what was signed, or nothing."""
    found = reader.read(signed(change=lambda whole: whole[:place] + extra + whole[place + len(extra) :]))
    assert said(found) == (("trainedAlgorithmicMedia", (EMBEDDING,), BASE) if found.state == "whole" else NOTHING)


def table(folder: Path, *images: Path) -> Path:
    rows = [f"{image.name},{hashlib.sha256(image.read_bytes()).hexdigest()}\n" for image in images]
    (folder / TABLE).write_text("path,sha256\n" + "".join(rows))
    (folder / SIDECAR).write_bytes(signer_of().sign_file((folder / TABLE).read_bytes(), "text/csv", SAID))
    return folder / TABLE


def test_one_manifest_for_a_data_set(tmp_path: Path, reader: ManifestReader) -> None:
    inner = tmp_path / "set/class"
    inner.mkdir(parents=True)
    for name in ("a.png", "b.png"):
        (inner / name).write_bytes(plain_png(seed=ord(name[0])))
    listed = table(tmp_path / "set", inner / "a.png")
    found = Tables(reader).find(inner / "a.png")
    assert found is not None and found.signer == "known" and found.embeddings == (EMBEDDING,)
    other = Tables(reader).find(inner / "b.png")
    assert other is not None and other.state == "broken" and "does not list" in other.why
    listed.write_text(listed.read_text() + "b.png," + "0" * 64 + "\n")
    changed = Tables(reader).find(inner / "a.png")
    assert changed is not None and changed.state == "broken" and said(changed) == NOTHING
    (tmp_path / "set" / SIDECAR).write_bytes(b"nothing")
    assert Tables(reader).find(inner / "a.png") not in (None, found)
    (tmp_path / "set" / SIDECAR).unlink()
    assert Tables(reader).find(inner / "a.png") is None
