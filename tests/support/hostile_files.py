"""Malformed and hostile files, each a valid release after one change, and the rule that refuses it.

`CASES` is also the table of docs/reference/hostile-input.md, which a test compares.
"""

from __future__ import annotations

import base64
import json
import pickle
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import utils

from embhub.formats import plain_png, synthetic_mark
from embhub.release.files import AUDIT, AUDIT_BUNDLE, CARD, EMBEDDING, LIMITS, PUBLISH_BUNDLE, SAMPLES, STUDY, Release
from embhub.trust import bundle, dsse, kinds
from tests.support import releases
from tests.support.releases import AUDITOR, OTHER_SITE, SITE, STRANGER, WITHDRAWER

Files = dict[str, bytes | None]  # what is pushed; None leaves a file of the valid release out


@dataclass(frozen=True)
class Case:
    """One hostile push: what it is in words, how the files change, and the rule that refuses."""

    group: str
    what: str
    make: Callable[[Release], Files]
    rule: str


def header(release: Release, change: Callable[[dict[str, Any]], Any], body: bytes | None = None) -> Files:
    """The embedding with another header, and perhaps another body."""
    data = release.files[EMBEDDING]
    size = int.from_bytes(data[:8], "little")
    document = json.loads(data[8 : 8 + size])
    change(document)
    return raw_header(release, json.dumps(document).encode(), body)


def raw_header(release: Release, text: bytes, body: bytes | None = None, *, claimed: int | None = None) -> Files:
    data = release.files[EMBEDDING]
    size = int.from_bytes(data[:8], "little")
    length = (len(text) if claimed is None else claimed).to_bytes(8, "little")
    return {EMBEDDING: length + text + (data[8 + size :] if body is None else body)}


def entry(release: Release, **changes: Any) -> Files:
    return header(release, lambda d: d["emb_params"].update(changes))


def number(release: Release, value: bytes) -> Files:
    """The embedding with its last number replaced."""
    return {EMBEDDING: release.files[EMBEDDING][: -len(value)] + value}


def split(first: list[int], second: list[int]) -> Callable[[dict[str, Any]], None]:
    """Two tensors in place of one, at these offsets."""

    def change(document: dict[str, Any]) -> None:
        del document["emb_params"]
        for name, (begin, end) in (("clip_l", first), ("clip_g", second)):
            document[name] = {"dtype": "F16", "shape": [4, 32], "data_offsets": [begin, end]}

    return change


def signed(release: Release, payload: bytes, **parts: Any) -> Files:
    """The publish bundle over another payload, rightly signed but for the parts given."""
    kind = parts.get("kind", dsse.INTOTO)
    signature = parts.get("signature") or SITE.sign(parts.get("over") or dsse.pae(kind, payload))
    return {PUBLISH_BUNDLE: bundle.to_json(dsse.Envelope(payload, kind, signature, SITE.fingerprint))}


def stated(release: Release, **changes: Any) -> bytes:
    """The publish statement with other members."""
    return json.dumps({**json.loads(release.publish_bundle.envelope.payload), **changes}).encode()


def enveloped(release: Release, change: Callable[[dict[str, Any], dict[str, Any]], Any]) -> Files:
    """The publish bundle after a change of (bundle, envelope)."""
    document = json.loads(release.files[PUBLISH_BUNDLE])
    change(document, document["dsseEnvelope"])
    return {PUBLISH_BUNDLE: json.dumps(document).encode()}


def again(release: Release, **changes: Any) -> Files:
    """Files changed, then everything signed anew by the publisher: only the rule in question can refuse."""
    return dict(releases.resigned(releases.replaced(release, **changes)).files)


def lists_members(release: Release) -> bytes:
    """The release's report with an order of patients' labels."""
    return report(release, lambda d: d["attacks"][0].update(order="mn" * 60))


def report(release: Release, change: Callable[[dict[str, Any]], Any]) -> bytes:
    document = json.loads(release.files[AUDIT])
    change(document)
    return json.dumps(document, separators=(",", ":")).encode()


def front(release: Release, extra: bytes) -> Files:
    """The card with a line more in its front matter, signed so."""
    return again(release, card=release.files[CARD].replace(b"---\n", b"---\n" + extra + b"\n", 1))


def sheet(release: Release, data: bytes, **changes: Any) -> Files:
    """A sheet of samples that the card records, but for these changes, signed so."""
    card = releases.edited_card(release, samples=releases.record_of(data, release.embedding, **changes))
    return again(release, samples=data, card=card)


def squeezed(lines: int) -> bytes:
    """A PNG of 16 x 16 pixels whose stream unpacks to so many lines."""
    parts = ((b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(17 * lines), 9)),
             (b"IEND", b""))  # fmt: skip
    return synthetic_mark.mark_png(plain_png.SIGNATURE + b"".join(chunk(kind, body) for kind, body in parts))


def unmarked(source_type: bytes | None = None, base: str | None = None) -> bytes:
    """A sheet without its mark, or with another one."""
    plain = releases.make_sheet().replace(chunk(b"iTXt", synthetic_mark.SHEET_BODY), b"")
    if source_type is None and base is None:
        return plain
    body = synthetic_mark.text_body(synthetic_mark.packet(base=base))
    body = body.replace(b"trainedAlgorithmicMedia", source_type or b"trainedAlgorithmicMedia")
    return plain[:33] + chunk(b"iTXt", body) + plain[33:]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def raw_signature(release: Release) -> bytes:
    r, s = utils.decode_dss_signature(release.publish_bundle.envelope.signature)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def payload(release: Release) -> bytes:
    return release.publish_bundle.envelope.payload


def first_signature(envelope: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = envelope["signatures"][0]
    return found


def doubled(text: bytes) -> bytes:
    """A header with a member twice, the good one last."""
    return text.replace(b'"emb_params":', b'"emb_params": {"dtype": "F16"}, "emb_params":', 1)


def whole_header(release: Release) -> bytes:
    data = release.files[EMBEDDING]
    return data[8 : 8 + int.from_bytes(data[:8], "little")]


class _Shell:
    def __reduce__(self) -> Any:
        return (__import__("os").system, ("touch /tmp/embhub-was-run",))


_F, _E, _K, _A, _C, _S = "Files", "Envelope", "Keys", "Audit", "Card", "Samples"
_SUBJECT = {"name": "x", "digest": {"sha256": "0" * 64}}
_HUGE = 2**63 - 1
CASES: tuple[Case, ...] = (
    Case(_F, "trailing bytes", lambda r: {EMBEDDING: r.files[EMBEDDING] + b"\0"}, "weights-format"),
    Case(_F, "cut short", lambda r: {EMBEDDING: r.files[EMBEDDING][:-1]}, "weights-format"),
    Case(_F, "empty file", lambda r: {EMBEDDING: b""}, "weights-format"),
    Case(_F, "overlapping tensors", lambda r: header(r, split([0, 256], [128, 384])), "weights-format"),
    Case(_F, "a gap between tensors", lambda r: header(r, split([0, 256], [264, 520])), "weights-format"),
    Case(_F, "offsets past the end", lambda r: entry(r, data_offsets=[_HUGE - 512, _HUGE]), "weights-format"),
    Case(_F, "negative offsets", lambda r: entry(r, data_offsets=[-512, 0]), "weights-format"),
    Case(_F, "a shape that overflows", lambda r: entry(r, shape=[2**62, 4]), "weights-format"),
    Case(_F, "no rows", lambda r: entry(r, shape=[0, 32], data_offsets=[0, 0]), "weights-format"),
    Case(_F, "duplicate header keys", lambda r: raw_header(r, doubled(whole_header(r))), "weights-format"),
    Case(_F, "a header that claims 2^64 bytes", lambda r: raw_header(r, b"{}", claimed=2**64 - 1), "weights-format"),
    Case(_F, "a huge header", lambda r: raw_header(r, b"{" + b" " * 900_000 + b"}"), "weights-format"),
    Case(_F, "a header nested deeply", lambda r: raw_header(r, b'{"a":' + b"[" * 90_000, b""), "weights-format"),
    Case(_F, "NaN", lambda r: number(r, b"\x00\x7e"), "weights-format"),
    Case(_F, "infinity", lambda r: number(r, b"\x00\x7c"), "weights-format"),
    Case(_F, "a wrong number type", lambda r: entry(r, dtype="I16"), "weights-format"),
    Case(_F, "a field that the header must not have",
         lambda r: header(r, lambda d: d["__metadata__"].update(source_path="/data/patients")), "weights-format"),
    Case(_F, "a pickle under a safetensors name", lambda r: {EMBEDDING: pickle.dumps(_Shell())}, "weights-format"),
    Case(_F, "a zip archive under a safetensors name", lambda r: {EMBEDDING: b"PK\x03\x04" + b"\0" * 60},
         "weights-format"),
    Case(_F, "a Git LFS pointer", lambda r: {EMBEDDING: b"version https://git-lfs.github.com/spec/v1\n"},
         "weights-format"),
    Case(_F, "an oversized embedding", lambda r: {EMBEDDING: b"\0" * (LIMITS[EMBEDDING] + 1)}, "file-size"),
    Case(_F, "an oversized report", lambda r: {AUDIT: b" " * (LIMITS[AUDIT] + 1)}, "file-size"),
    Case(_F, "an oversized bundle", lambda r: {PUBLISH_BUNDLE: b" " * (LIMITS[PUBLISH_BUNDLE] + 1)}, "file-size"),
    Case(_F, "a file beside the release", lambda r: {"notes.txt": b"x"}, "known-files"),
    Case(_F, "weights under another name", lambda r: {"model.safetensors": r.files[EMBEDDING]}, "weights-format"),
    Case(_F, "a pickle beside it", lambda r: {"pytorch_model.bin": b"\x80\x04."}, "weights-format"),
    Case(_E, "no bundle", lambda r: {PUBLISH_BUNDLE: None, AUDIT_BUNDLE: None}, "unsigned"),
    Case(_E, "no signature", lambda r: enveloped(r, lambda b, e: e.update(signatures=[])), "envelope-malformed"),
    Case(_E, "two signatures", lambda r: enveloped(r, lambda b, e: e.update(signatures=e["signatures"] * 2)),
         "envelope-malformed"),
    Case(_E, "signature over the payload without PAE", lambda r: signed(r, payload(r), over=payload(r)),
         "bad-signature"),
    Case(_E, "PAE of another type", lambda r: signed(r, payload(r), over=dsse.pae("x", payload(r))), "bad-signature"),
    Case(_E, "another payload type, signed so", lambda r: signed(r, payload(r), kind="text/plain"),
         "envelope-malformed"),
    Case(_E, "key id of another member", lambda r: enveloped(
        r, lambda b, e: (first_signature(e).update(keyid=OTHER_SITE.fingerprint),
                         b["verificationMaterial"]["publicKey"].update(hint=OTHER_SITE.fingerprint))),
         "bad-signature"),
    Case(_E, "key id at odds with the hint",
         lambda r: enveloped(r, lambda b, e: first_signature(e).update(keyid=STRANGER.fingerprint)),
         "bundle-malformed"),
    Case(_E, "another algorithm: r and s without DER", lambda r: signed(r, payload(r), signature=raw_signature(r)),
         "bad-signature"),
    Case(_E, "a certificate in place of a key",
         lambda r: enveloped(r, lambda b, e: b["verificationMaterial"].update(certificate={"rawBytes": "AA=="})),
         "bundle-malformed"),
    Case(_E, "a proof that nothing here checks",
         lambda r: enveloped(r, lambda b, e: b["verificationMaterial"].update(tlogEntries=[{"logIndex": "1"}])),
         "bundle-malformed"),
    Case(_E, "Statement v0.1", lambda r: signed(r, stated(r, _type="https://in-toto.io/Statement/v0.1")),
         "statement-malformed"),
    Case(_E, "duplicate keys in the bundle",
         lambda r: {PUBLISH_BUNDLE: r.files[PUBLISH_BUNDLE].replace(b'"payload":', b'"payload":"AAAA","payload":')},
         "bundle-malformed"),
    Case(_E, "duplicate keys in the statement",
         lambda r: signed(r, payload(r).replace(b'"subject":', b'"subject":[],"subject":')), "statement-malformed"),
    Case(_E, "no subject", lambda r: signed(r, stated(r, subject=[])), "statement-malformed"),
    Case(_E, "a second subject", lambda r: signed(
        r, stated(r, subject=[*json.loads(payload(r))["subject"], _SUBJECT])), "statement-malformed"),
    Case(_E, "another subject", lambda r: signed(r, stated(r, subject=[_SUBJECT])), "digest-mismatch"),
    Case(_E, "predicate swapped", lambda r: signed(r, stated(r, predicateType=kinds.AUDIT.type)), "predicate-type"),
    Case(_E, "the audit's bundle as the publish bundle", lambda r: {PUBLISH_BUNDLE: r.files[AUDIT_BUNDLE]},
         "predicate-type"),
    Case(_E, "another repository's statement",
         lambda r: dict(releases.make_release(repository="radboud/other").files), "wrong-repository"),
    Case(_E, "a byte of the payload changed", lambda r: enveloped(
        r, lambda b, e: e.update(payload=base64.b64encode(payload(r).replace(b"1.0.0", b"1.0.1")).decode())),
         "bad-signature"),
    Case(_E, "a bundle nested deeply", lambda r: {PUBLISH_BUNDLE: b"[" * 63_000}, "bundle-malformed"),
    Case(_K, "a key that no member has", lambda r: dict(releases.make_release(key=STRANGER).files), "unknown-signer"),
    Case(_K, "another member's key", lambda r: dict(releases.make_release(key=OTHER_SITE).files), "wrong-namespace"),
    Case(_K, "an auditor's key that publishes", lambda r: dict(releases.resigned(r, key=AUDITOR).files),
         "wrong-namespace"),
    Case(_K, "a key used outside its role", lambda r: dict(releases.resigned(r, key=WITHDRAWER).files), "wrong-role"),
    Case(_A, "a signed report dropped", lambda r: {AUDIT: None, AUDIT_BUNDLE: None}, "audit-missing"),
    Case(_A, "the report of another embedding",
         lambda r: {**r.files, AUDIT: releases.make_release(artifact=releases.make_embedding(seed=9)).files[AUDIT]},
         "audit-mismatch"),
    Case(_A, "a report edited after signing",
         lambda r: {AUDIT: report(r, lambda d: d["attacks"][0].update(auc=0.99))},
         "audit-mismatch"),
    Case(_A, "an order that is a list of members", lambda r: again(r, audit=lists_members(r)), "audit-format"),
    Case(_A, "figures that do not fit each other",
         lambda r: again(r, audit=report(r, lambda d: d["attacks"][0].update(auc=0.5, auc_interval=[0.4, 0.6]))),
         "audit-mismatch"),
    Case(_A, "a verdict that the figures do not give",
         lambda r: again(r, audit=releases.edited_report(r, verdict="no-leak-detected")), "audit-mismatch"),
    Case(_A, "a claim that the report contradicts", lambda r: again(
        r, card=releases.edited_card(r, audit={**r.card.to_dict()["audit"], "verdict": "no-leak-detected"})),
         "card-mismatch"),
    Case(_A, "NaN among the figures",
         lambda r: {AUDIT: report(r, lambda d: d["attacks"][0]["auc_interval"].append(float("nan")))},
         "audit-format"),
    Case(_A, "duplicate keys in the report",
         lambda r: {AUDIT: r.files[AUDIT].replace(b'"verdict":', b'"verdict":"x","verdict":')}, "audit-format"),
    Case(_A, "six hundred thousand empty attacks",
         lambda r: {AUDIT: report(r, lambda d: d.update(attacks=[{}] * 600_000))}, "audit-format"),
    Case(_A, "bins that are texts", lambda r: {
        AUDIT: report(r, lambda d: d["attacks"][0].update(bins=["x"] * 290_000))}, "audit-format"),
    Case(_A, "an order of half a million ties", lambda r: {
        AUDIT: report(r, lambda d: d["attacks"][0].update(order="(mn)" * 400_000))}, "audit-format"),
    Case(_C, "no card", lambda r: {CARD: None}, "card-mismatch"),
    Case(_C, "bytes that are no text", lambda r: {CARD: b"---\nembhub: \xff\n---\n"}, "card"),
    Case(_C, "an alias bomb", lambda r: front(r, b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]"), "card"),
    Case(_C, "an object of Python", lambda r: front(r, b"a: !!python/object/apply:os.system ['true']"), "card"),
    Case(_C, "duplicate keys", lambda r: front(r, b"embhub: {}"), "card"),
    Case(_C, "brackets nested deeply", lambda r: front(r, b"a: " + b"[" * 5_000), "card"),
    Case(_C, "a list of a hundred thousand", lambda r: front(r, b"a: [" + b"x," * 90_000 + b"]"), "card"),
    Case(_C, "a thousand wrong fields",
         lambda r: front_fields(r, {f"field{number}": 0 for number in range(1_000)}), "card"),
    Case(_C, "a card edited after signing", lambda r: {CARD: releases.edited_card(r, limitations="none at all")},
         "card-mismatch"),
    Case(_C, "words beside the card", lambda r: again(r, card=r.files[CARD] + b"\nCertified safe.\n"),
         "card-mismatch"),
    Case(_C, "a person in it", lambda r: again(
        r, card=releases.edited_card(r, limitations="Made from the scans of patient no 12345678")), "personal-data"),
    Case(_S, "an oversized sheet", lambda r: {SAMPLES: b"\0" * (LIMITS[SAMPLES] + 1)}, "file-size"),
    Case(_S, "an oversized record of a study", lambda r: {STUDY: b" " * (LIMITS[STUDY] + 1)}, "file-size"),
    Case(_S, "a record of a study without its claim", lambda r: {STUDY: b"{}"}, "study"),
    Case(_S, "a sheet that no card records", lambda r: {SAMPLES: releases.make_sheet()}, "samples"),
    Case(_S, "a record without its sheet", lambda r: {**sheet(r, releases.make_sheet()), SAMPLES: None}, "samples"),
    Case(_S, "another sheet than the recorded one",
         lambda r: {**sheet(r, releases.make_sheet()), SAMPLES: releases.make_sheet(seed=1)}, "samples"),
    Case(_S, "a sheet of another embedding", lambda r: sheet(r, releases.make_sheet(), embedding="ab" * 32), "samples"),
    Case(_S, "a resolution inside", lambda r: sheet(r, releases.make_sheet(dpi=(72, 72))), "samples"),
    Case(_S, "no word that it is synthetic", lambda r: sheet(r, unmarked()), "samples"),
    Case(_S, "a mark with a byte changed", lambda r: sheet(r, unmarked(b"trainedAlgorithmicMediA")), "samples"),
    Case(_S, "a message beside the mark", lambda r: sheet(r, unmarked(base="ab" * 32)), "samples"),
    Case(_S, "an archive behind it", lambda r: sheet(r, releases.make_sheet() + b"PK\x03\x04"), "samples"),
    Case(_S, "a page in its place", lambda r: sheet(r, b"<svg onload=alert(1)>"), "samples"),
    Case(_S, "more pixels than it says", lambda r: sheet(r, squeezed(5_000_000)), "samples"),
    Case(_S, "a side too long", lambda r: sheet(r, releases.make_sheet(size=(2049, 16))), "samples"),
    Case(_S, "a sheet of suspected copies", lambda r: {
        **sheet(r, releases.make_sheet()),
        CARD: (sheet(r, releases.make_sheet())[CARD] or b"").replace(b"no-copies-found", b"copies-suspected")}, "card"),
)  # fmt: skip


def front_fields(release: Release, extra: Mapping[str, Any]) -> Files:
    """The card with fields more in its `embhub:` block."""
    lines = "".join(f"  {name}: {value}\n" for name, value in extra.items())
    return {CARD: release.files[CARD].replace(b"embhub:\n", b"embhub:\n" + lines.encode(), 1)}


def pushed(release: Release, case: Case) -> dict[str, bytes]:
    """The whole file set of a case."""
    return {name: data for name, data in {**release.files, **case.make(release)}.items() if data is not None}


def rows() -> list[tuple[str, str, str]]:
    """The table of the documentation."""
    return [(case.group, case.what, case.rule) for case in CASES]
