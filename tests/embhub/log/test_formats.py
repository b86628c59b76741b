"""Notes, checkpoints, cosignatures, proofs, tiles, entries and policies: published examples, golden files, and bytes
that are nearly right.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from sigstore_models.rekor import v2 as rekor

from embhub.log import checkpoints, leaves, merkle, notes, policies, proofs, tiles
from embhub.log.checkpoints import Checkpoint
from embhub.log.errors import BadCosignatureError, LogError, MalformedLogError, NotIncludedError, WrongLogError
from embhub.trust import p256
from tests.embhub.log import reference
from tests.support.quick import examples

GOLDEN = Path(__file__).parent / "golden"
FEW = settings(max_examples=examples(80), deadline=None)
# C2SP signed-note, section "Example"; C2SP tlog-checkpoint and tlog-cosignature show the other two
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = (
    "This is an example message.\n\n— example.com/foo"
    " Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
# golang.org/x/mod/sumdb/note, package documentation: a key of the Go project's tests
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()


def log_key(name: str = "hub.example.org", seed: int = 1) -> notes.NoteSigner:
    return notes.signer(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32), name)


def witness_key(name: str = "witness.example.org", seed: int = 2) -> notes.NoteSigner:
    private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    return notes.signer(private, name, kind=notes.COSIGNATURE)


ENTRIES = [b"entry %d" % number for number in range(7)]
CHECKPOINT = Checkpoint("hub.example.org", 7, reference.mth(ENTRIES))
SIGNED = checkpoints.sign(CHECKPOINT, by=log_key())
COSIGNED = SIGNED.note.with_signatures([checkpoints.cosign(CHECKPOINT, by=witness_key(), time=1_700_000_000)])
PROOF = proofs.make(3, reference.path(3, ENTRIES), COSIGNED)


@pytest.mark.parametrize(("key", "note"), [(EXAMPLE_KEY, EXAMPLE), (GO_KEY, GO_NOTE)])
def test_published_notes_and_keys_verify(key: str, note: bytes) -> None:
    known, read = notes.parse_key(key), notes.parse(note)
    assert str(known) == key and read.to_bytes() == note
    (line,) = read.by(known)
    assert known.signed(read.text.encode(), line.signature)
    assert not known.signed(read.text.encode() + b" ", line.signature)


def test_what_is_written_today_is_what_was_written_before() -> None:
    files = {"checkpoint": SIGNED.to_bytes(), "cosigned": COSIGNED.to_bytes(), "proof.tlog-proof": PROOF.to_bytes(),
             "entry.json": LEAF.to_bytes()}  # fmt: skip
    for name, data in files.items():
        assert (GOLDEN / name).read_bytes() == data, name


@given(st.sampled_from(["note", "proof", "leaf"]), st.data())
@FEW
def test_what_is_read_has_one_spelling(kind: str, data: st.DataObject) -> None:
    whole = {"note": COSIGNED.to_bytes(), "proof": PROOF.to_bytes(), "leaf": LEAF.to_bytes()}[kind]
    place = data.draw(st.integers(0, len(whole)))
    cut = data.draw(st.integers(0, 3))
    changed = whole[:place] + data.draw(st.sampled_from([b"", b"\n", b" ", b"=", b"A", b"0", b"\r", b"\xff"]))
    changed += whole[place + cut :]
    with contextlib.suppress(MalformedLogError):
        read = notes.parse(changed) if kind == "note" else None
        found = read or (proofs.parse(changed) if kind == "proof" else leaves.parse(changed))
        assert found.to_bytes() == changed


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n7\n", "\n07\n"),
        lambda text: text.replace("\n7\n", "\n+7\n"),
        lambda text: text.replace("\n7\n", "\n-7\n"),
        lambda text: text.replace("\n7\n", "\n9223372036854775808\n"),
        lambda text: text.replace("\n7\n", "\n\N{ARABIC-INDIC DIGIT SEVEN}\n"),
        lambda text: text.replace("\n\n", "\nextension\n\n"),
        lambda text: text.replace("\n\n", "\r\n\r\n"),
        lambda text: text.removesuffix("\n"),
        lambda text: text + "\n",
        lambda text: text.replace("\N{EM DASH}", "-"),
        lambda text: text.replace("= ", "") + " ",
        lambda text: text.split("\n\n")[0] + "\n",
        lambda text: text.replace("hub.example.org\n7", "\n7", 1),
        lambda text: "\t" + text,
    ],
)
def test_a_checkpoint_that_is_not_canonical_is_refused(change: object) -> None:
    changed = change(COSIGNED.to_bytes().decode())  # type: ignore[operator]
    with pytest.raises(LogError):
        checkpoints.open_signed(changed.encode(), log=log_key().public)


def test_a_checkpoint_of_another_log_or_key_is_refused() -> None:
    assert checkpoints.open_signed(COSIGNED.to_bytes(), log=log_key().public).checkpoint == CHECKPOINT
    with pytest.raises(WrongLogError, match="expected other"):
        checkpoints.open_signed(SIGNED.to_bytes(), log=log_key("other.example.org").public)
    with pytest.raises(WrongLogError, match="not signed by the log's key"):
        checkpoints.open_signed(SIGNED.to_bytes(), log=log_key(seed=9).public)
    forged = notes.Note(CHECKPOINT.text.replace("7", "8", 1), SIGNED.note.signatures)
    with pytest.raises(WrongLogError, match="forged or damaged"):
        checkpoints.open_signed(forged.to_bytes(), log=log_key().public)
    renamed = checkpoints.sign(CHECKPOINT, by=log_key("other.example.org"))  # the same key under another name
    with pytest.raises(WrongLogError):
        checkpoints.open_signed(renamed.to_bytes(), log=log_key().public)


def test_an_empty_log_has_the_empty_root() -> None:
    empty = checkpoints.sign(Checkpoint("hub.example.org", 0, merkle.EMPTY), by=log_key())
    assert checkpoints.open_signed(empty.to_bytes(), log=log_key().public).size == 0
    wrong = checkpoints.sign(Checkpoint("hub.example.org", 0, b"r" * 32), by=log_key())
    with pytest.raises(MalformedLogError):
        checkpoints.open_signed(wrong.to_bytes(), log=log_key().public)


def test_cosignatures_count_for_their_checkpoint_alone() -> None:
    known = [witness_key().public, witness_key("other.example.org", 3).public]
    (found,) = checkpoints.check_cosignatures(COSIGNED, known)
    assert (found.witness, found.time) == (known[0], 1_700_000_000)
    assert checkpoints.check_cosignatures(SIGNED.note, known) == []
    assert checkpoints.check_cosignatures(COSIGNED, known[1:]) == []  # unknown witnesses are ignored
    grown = checkpoints.sign(Checkpoint("hub.example.org", 8, reference.mth([*ENTRIES, b"x"])), by=log_key())
    moved = grown.note.with_signatures(COSIGNED.signatures[1:])  # a cosignature of another size
    with pytest.raises(BadCosignatureError):
        checkpoints.check_cosignatures(moved, known)
    line = COSIGNED.signatures[1]
    later = notes.SignatureLine(line.name, line.key_id, (1_800_000_000).to_bytes(8, "big") + line.signature[8:])
    with pytest.raises(BadCosignatureError):  # the time is signed too
        checkpoints.check_cosignatures(SIGNED.note.with_signatures([later]), known)
    plain = notes.SignatureLine(line.name, line.key_id, witness_key().sign(CHECKPOINT.text.encode()))
    with pytest.raises(BadCosignatureError):  # a plain signature of the text is no cosignature
        checkpoints.check_cosignatures(SIGNED.note.with_signatures([plain]), known)


def test_a_proof_opens_for_its_own_entry_alone() -> None:
    read = proofs.parse(PROOF.to_bytes())
    assert read == PROOF and read.open(ENTRIES[3], log=log_key().public).size == 7
    for entry in (ENTRIES[2], reference.mth(ENTRIES[:2]), b""):
        with pytest.raises(NotIncludedError):
            read.open(entry, log=log_key().public)
    with pytest.raises(NotIncludedError, match="past its 7 entries"):
        proofs.LogProof(7, PROOF.path, PROOF.note).open(ENTRIES[3], log=log_key().public)
    extra = proofs.LogProof(3, PROOF.path, PROOF.note, b"more")
    assert proofs.parse(extra.to_bytes()) == extra


PRIVATE = ec.derive_private_key(7, ec.SECP256R1())
DER = PRIVATE.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
LEAF = leaves.of_signature(b"DSSEv1 4 text 2 hi", signature=b"0\x06\x02\x01\x01\x02\x01\x01", key=DER)


def test_an_entry_is_what_rekor_v2_reads() -> None:
    entry = rekor.entry.Entry.from_json(LEAF.to_bytes())
    assert (entry.kind, entry.api_version) == ("hashedrekord", "0.0.2")
    spec = entry.spec.hashed_rekord_v002
    assert spec is not None and base64.b64decode(
        json.loads(LEAF.to_bytes())["spec"]["hashedRekordV002"]["data"]["digest"]
    )
    assert spec.data.digest in (LEAF.digest, base64.b64encode(LEAF.digest))
    assert LEAF.digest == hashlib.sha256(b"DSSEv1 4 text 2 hi").digest()
    assert leaves.parse(LEAF.to_bytes()) == LEAF


def test_the_fingerprint_of_an_entry_is_the_keyrings() -> None:
    assert LEAF.fingerprint == p256.fingerprint(PRIVATE.public_key())
    assert leaves.Leaf(LEAF.digest, LEAF.signature, b"other").fingerprint == ""


@pytest.mark.parametrize(
    "data", [b"{}", b"[]", LEAF.to_bytes() + b"\n", LEAF.to_bytes().replace(b":", b": ", 1), LEAF.to_bytes()[:-1],
             LEAF.to_bytes().replace(b'"kind"', b'"x":1,"kind"')]
)  # fmt: skip
def test_an_entry_of_another_form_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedLogError):
        leaves.parse(data)


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (tiles.Tile(0, 1_234_067), "tile/0/x001/x234/067"),
        (tiles.Tile(1, 0, 17), "tile/1/000.p/17"),
        (tiles.Tile(None, 999, 1), "tile/entries/999.p/1"),
        (tiles.Tile(63, 1_000), "tile/63/x001/000"),
    ],
)
def test_tiles_have_the_published_addresses(tile: tiles.Tile, path: str) -> None:
    assert tile.path == path and tiles.parse_path(path) == tile


@pytest.mark.parametrize(
    "path",
    ["tile/00/000", "tile/64/000", "tile/0/0", "tile/0/x000/000", "tile/0/000.p/0", "tile/0/000.p/256",
     "tile/0/000.p/01", "tile/0/../000", "tile/0/000/", "/tile/0/000", "tile/0/001/000", "tile/-1/000", "tile/x/000",
     "tile/0/000\n"],
)  # fmt: skip
def test_a_tile_has_no_other_address(path: str) -> None:
    with pytest.raises(MalformedLogError):
        tiles.parse_path(path)


@given(st.integers(0, 10**15), st.one_of(st.none(), st.integers(0, 63)), st.integers(1, 256))
@FEW
def test_every_address_is_read_as_it_is_written(number: int, level: int | None, width: int) -> None:
    tile = tiles.Tile(level, number, width)
    assert tiles.parse_path(tile.path) == tile


def test_a_log_of_70000_has_the_tiles_that_the_specification_counts() -> None:
    found = [tile for tile in tiles.all_of(70_000) if tile.level is not None]
    count = [(level, width) for level in range(3) for width in (256, 112, 17, 1)]
    counted = {key: sum((tile.level, tile.width) == key for tile in found) for key in count}
    assert {key: n for key, n in counted.items() if n} == {
        (0, 256): 273,
        (0, 112): 1,
        (1, 256): 1,
        (1, 17): 1,
        (2, 1): 1,
    }
    assert {tile.path for tile in tiles.all_of(256) if tile.level is not None} == {"tile/0/000", "tile/1/000.p/1"}


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=20))
@FEW
def test_bundles_of_entries_are_read_back(entries: list[bytes]) -> None:
    data = tiles.join_entries(entries)
    assert tiles.split_entries(data, len(entries)) == entries
    for width, damaged in ((len(entries) + 1, data), (len(entries), data[:-1]), (len(entries), data + b"\0")):
        with pytest.raises(MalformedLogError):
            tiles.split_entries(damaged, width)


W = [str(witness_key(f"w{n}.example.org", 10 + n).public) for n in range(5)]
POLICY = f"""# who vouches
log {log_key().public} https://hub.example.org

witness A {W[0]}
witness B\t{W[1]} https://b.example.org/
 witness C {W[2]}
group Two 2 A B C
witness D {W[3]}
group All all Two D
quorum All
"""


def test_a_quorum_is_counted_as_the_policy_says() -> None:
    policy = policies.parse(POLICY.encode())
    a, b, c, d = (notes.parse_key(text) for text in W[:4])
    assert policy.log_of("hub.example.org") == log_key().public and policy.log_of("other") is None
    for met, cosigners in [(True, [a, c, d]), (True, [a, b, c, d]), (False, [a, b, c]), (False, [a, d]), (False, [])]:
        assert policy.is_met_by(cosigners) == met
    times = [checkpoints.Cosignature(key, time) for key, time in ((a, 50), (b, 10), (c, 40), (d, 60))]
    assert policy.time_of(times) == 40  # A and C and D had vouched by then, not before
    assert policy.time_of(times[:2]) is None
    nobody = policies.parse(b"quorum none\n")
    assert nobody.is_met_by([]) and nobody.time_of([]) is None and not nobody.asks_for_witnesses


@pytest.mark.parametrize(
    "text",
    ["", "quorum X", "quorum none\nquorum none", f"witness none {W[0]}\nquorum none",
     f"witness A {W[0]}\nwitness A {W[1]}\nquorum A", f"witness A {W[0]}\nwitness B {W[0]}\nquorum A",
     f"witness A {W[0]}\ngroup G 2 A\nquorum G", f"witness A {W[0]}\ngroup G 0 A\nquorum G",
     f"witness A {W[0]}\ngroup G 1 A A\nquorum G", f"witness A {W[0]}\ngroup G any none\nquorum G",
     f"witness A {W[0]}\ngroup G any A\ngroup H any A\nquorum G", f"log {W[0]}\nquorum none",
     f"witness A {log_key().public}\nquorum A", "log\nquorum none", "what\nquorum none", "quorum none\r",
     f"witness A {W[0]}\ngroup G any H\ngroup H any A\nquorum G", f"witness A {W[0]}\ngroup G any\nquorum G"],
)  # fmt: skip
def test_a_policy_with_a_fault_is_refused(text: str) -> None:
    with pytest.raises(MalformedLogError):
        policies.parse(f"{text}\n".encode())


@pytest.mark.parametrize("name", ["all", "any", "none"])
def test_a_policy_calls_no_witness_and_no_group_by_a_word_of_the_format(name: str) -> None:
    """`group G any all` would have two meanings."""
    for text in (f"witness {name} {W[0]}\nquorum none\n", f"witness A {W[0]}\ngroup {name} any A\nquorum none\n"):
        with pytest.raises(MalformedLogError, match="is taken"):
            policies.parse(text.encode())


def test_a_policy_that_was_cut_off_is_refused() -> None:
    """Without the newline at its end nobody knows whether the last line is whole."""
    whole = f"witness A {W[0]}\nwitness A2 {W[1]}\nquorum A2\n"
    assert policies.parse(whole.encode()).quorum == "A2"
    for cut in (whole[:-1], whole[:-2]):
        with pytest.raises(MalformedLogError, match="does not end with a line"):
            policies.parse(cut.encode())


# Encodings of low-order points, facts from C2SP/CCTV, ed25519/README.md; the last three are of y >= p in general.
NO_KEYS = [
    "00" * 32, "00" * 31 + "80", "01" + "00" * 31, "01" + "00" * 30 + "80",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "ec" + "ff" * 30 + "7f", "ec" + "ff" * 31, "ed" + "ff" * 30 + "7f", "ed" + "ff" * 31,
    "ee" + "ff" * 30 + "7f", "ee" + "ff" * 31, "f0" + "ff" * 30 + "7f", "ff" * 31 + "7f", "ff" * 32,
]  # fmt: skip


@pytest.mark.parametrize("kind", [notes.ED25519, notes.COSIGNATURE])
@pytest.mark.parametrize("encoded", NO_KEYS)
def test_a_key_of_low_order_or_of_another_spelling_is_refused(encoded: str, kind: int) -> None:
    """With such a key one signature fits many messages, or one key has two names."""
    key = notes.VerifierKey("hub.example.org", kind, bytes.fromhex(encoded))
    with pytest.raises(MalformedLogError, match=r"low order|canonical"):
        notes.parse_key(str(key))


def test_a_signature_that_fits_a_key_of_low_order_is_taken_from_nobody() -> None:
    """CCTV's vector 1, which OpenSSL accepts: signature and key are zeros."""
    key = notes.VerifierKey("hub.example.org", notes.ED25519, bytes(32))
    assert key.signed(b"ed25519vectors 11", bytes(64)), "the library alone does not refuse it"
    with pytest.raises(MalformedLogError, match="low order"):
        notes.parse_key(str(key))
