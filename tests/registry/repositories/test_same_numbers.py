"""What is said of an embedding is said of its numbers: no other header, and no unit in the last place, escapes it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embhub.artifact import embedding
from embhub.artifact.embedding import Embedding
from embhub.refusals import DigestMismatchError
from embhub.release import files as release_files
from embhub.release import signing, verification
from embhub.release.files import PUBLISH_BUNDLE
from embhub.trust import bundle, statement
from embhub.trust.advisories import Advisories
from embhub_registry.database.releases import number_rows
from embhub_registry.repositories import advisories, near_copies
from tests.registry.conftest import House
from tests.registry.repositories import test_withdrawn_for_good as earlier
from tests.registry.repositories.test_withdrawn_for_good import act, ask, listed, marks, rule_of, yank
from tests.support import pushes, releases
from tests.support.servers import Answer

KEYS = {"radboud": releases.SITE, "lumc": releases.make_key("lumc's key of this file")}


@pytest.fixture(scope="module", autouse=True)
def key_of_lumc(house: House) -> None:
    house.registry.add_key(KEYS["lumc"], namespace="lumc")


def push(house: House, repository: str, **changes: Any) -> Answer:
    return earlier.push(house, repository, key=KEYS[repository.partition("/")[0]], **changes)


def built(rows: Any, *, steps: int = 200, dtype: str = "float16") -> Embedding:
    return embedding.build(
        {"emb_params": rows}, token="<cspca>", base=releases.BASE, base_name="builtin", dtype=dtype,
        training={"steps": steps, "learning_rate": 0.005},
    )  # fmt: skip


def rows_of(seed: int) -> Any:
    return np.random.default_rng(seed).normal(size=(8, 32)).astype(np.float16)


def one_unit(rows: Any) -> Any:
    """The same with one number changed by one unit in the last place."""
    changed = rows.copy()
    changed[3, 7] = np.nextafter(changed[3, 7], np.float16(np.inf))
    return changed


def turned(rows: Any, cosine: float) -> Any:
    """Each vector turned until it has this cosine with what it was."""
    rows = rows.astype(np.float64)
    noise = np.random.default_rng(1).normal(size=rows.shape)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    noise -= (noise * unit).sum(axis=1, keepdims=True) * unit
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    return cosine * unit + np.sqrt(1 - cosine**2) * noise


def nearly(house: House, repository: str) -> list[str]:
    return list(house.registry.get(f"/{repository}?format=json").json()["nearly"])


def test_the_digest_is_of_the_numbers_alone() -> None:
    rows = rows_of(1)
    assert built(rows).digest != built(rows, steps=201).digest
    wide = built(rows.astype(np.float32), dtype="float32")
    assert built(rows).numbers == built(rows, steps=201).numbers == wide.numbers
    assert built(one_unit(rows)).numbers != built(rows).numbers
    zeros = rows.copy()
    zeros[0, 0], negative = 0.0, rows.copy()
    negative[0, 0] = -0.0
    assert built(zeros).numbers == built(negative).numbers
    assert built(rows.reshape(4, 64)).numbers != built(rows).numbers


def test_withdrawn_numbers_are_refused_under_another_header(house: House) -> None:
    rows = rows_of(2)
    assert push(house, "lumc/yk", artifact=built(rows)).status == 200
    act(house, "curate", "yank", "lumc/yk", "--scope", "bytes", "--reason", "found unsafe")
    for repository in ("lumc/yk", "radboud/yk-again"):
        denied = push(house, repository, artifact=built(rows, steps=201), version="1.0.2")
        assert rule_of(denied) == (422, "withdrawn") and "another header" in denied.json()["error"]
    widened = built(rows.astype(np.float32), dtype="float32")
    assert rule_of(push(house, "lumc/yk", artifact=widened, version="1.0.2")) == (422, "withdrawn")
    digest = built(rows).digest
    assert ask(house, "curate", "digest", "allow", digest, "--reason", "found safe")["lifted"] == 1
    assert push(house, "lumc/yk", artifact=built(rows, steps=201), version="1.0.2").status == 200


def test_what_is_there_already_under_another_header_is_withdrawn_too(house: House) -> None:
    rows = rows_of(3)
    assert push(house, "radboud/first", artifact=built(rows)).status == 200
    assert push(house, "lumc/second", artifact=built(rows, steps=201)).status == 200
    act(house, "curate", "yank", "radboud/first", "--scope", "bytes", "--reason", "found unsafe")
    assert marks(house, "lumc/second") == [("operator", "bytes")] and not listed(house, "second")


def test_erased_numbers_do_not_come_back(house: House, tmp_path: Path) -> None:
    rows = rows_of(4)
    assert push(house, "lumc/er1", artifact=built(rows)).status == 200
    act(house, "repo", "delete", "lumc/er1", "--reason", "consent withdrawn")
    denied = push(house, "lumc/er2", artifact=built(rows, steps=201))
    assert rule_of(denied) == (422, "withdrawn") and "consent withdrawn" in denied.json()["error"]
    assert push(house, "lumc/er3", artifact=built(one_unit(rows))).status == 200
    assert nearly(house, "lumc/er3") == ["nearly the numbers of lumc/er1 1.0.0, withdrawn"]
    address = f"embhub/v1/audits/{built(one_unit(rows)).digest}"
    act(house, "export", "--static", str(tmp_path / "files"))
    for said in (house.registry.get(f"/{address}").json(), json.loads((tmp_path / "files" / address).read_bytes())):
        assert said["nearly"] == ["nearly the numbers of lumc/er1 1.0.0, withdrawn"]


def estimated(kept: bytes, *, width: int) -> Any:
    """What whoever reads the table can compute: each vector (8, width) from the signs that are left of its sketch."""
    bits = np.unpackbits(np.frombuffer(kept, np.uint8).reshape(8, -1), axis=1).astype(float) * 2 - 1
    shared = hashlib.shake_256(b"embhub sketch 1").digest(near_copies.VECTOR * width)
    directions = np.unpackbits(np.frombuffer(shared, np.uint8)).reshape(width, 8 * near_copies.VECTOR)
    return bits @ (directions[:, : bits.shape[1]].astype(float) * 2 - 1).T


def test_what_is_kept_of_an_erased_file_does_not_give_its_vectors(house: House) -> None:
    rows = rows_of(5)
    file = built(rows)
    assert push(house, "lumc/sketched", artifact=file).status == 200
    with house.registry.opened() as registry:
        held = number_rows.find(registry.database.connection(), file.digest)
        act(house, "repo", "delete", "lumc/sketched", "--reason", "consent withdrawn")
        kept = number_rows.find(registry.database.connection(), file.digest)
    assert held and kept and held.digest == kept.digest == file.numbers

    def cosine(sketch: bytes) -> float:
        found = estimated(sketch, width=32)
        lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(rows.astype(float), axis=1)
        return float(((found * rows).sum(axis=1) / lengths).mean())

    assert cosine(held.sketch) > 0.9, "signs give a vector's direction"
    assert abs(cosine(kept.sketch)) < 0.25, "what is left of them does not"


def test_an_erased_file_is_asked_about_beside_others_that_are_marked(house: House) -> None:
    """Both sides of a comparison may be erased, or one of them."""
    files = [built(rows_of(60)), built(turned(rows_of(60), 0.9999)), built(rows_of(61))]
    for number, file in enumerate(files):
        assert push(house, f"lumc/gone{number}", artifact=file).status == 200
    act(house, "curate", "yank", "lumc/gone2", "--scope", "bytes", "--reason", "found unsafe")
    for number in (0, 1):
        act(house, "repo", "delete", f"lumc/gone{number}", "--reason", "consent withdrawn")
    said = house.registry.get(f"/embhub/v1/audits/{files[0].digest}").json()["nearly"]
    assert said == ["nearly the numbers of lumc/gone1 1.0.0, withdrawn"]


def test_a_publishers_withdrawal_is_shown_elsewhere(house: House) -> None:
    rows = rows_of(7)
    assert push(house, "radboud/own", artifact=built(rows)).status == 200
    assert yank(house, "radboud/own", house.alice, reason="consent withdrawn", scope="bytes").status == 200
    assert rule_of(push(house, "radboud/own2", artifact=built(rows, steps=201))) == (422, "withdrawn")
    assert push(house, "lumc/not-own", artifact=built(rows, steps=201)).status == 200
    assert nearly(house, "lumc/not-own") == ["the numbers of radboud/own 1.0.0, withdrawn"]


def push_leaky(house: House, name: str, rows: Any, **settings: Any) -> Embedding:
    """A release of radboud's in which the auditor of nki found a leak."""
    repository = f"radboud/{name}"
    release = releases.make_release(repository=repository, artifact=built(rows), audited=False, name=name)
    assert pushes.create(house.registry, name, token=house.alice).status == 200
    assert pushes.commit(house.registry, repository, dict(release.files), token=house.alice).status == 200
    report = releases.make_report(release.embedding, shift=3.0)
    signed = signing.attest_audit(
        report, numbers=release.embedding.numbers, report_digest=release_files.digest(report.to_bytes()),
        registry=releases.ORIGIN, repository=repository, version="1.0.0", key=releases.AUDITOR, now=releases.NOW,
    )  # fmt: skip
    files = {release_files.AUDIT: report.to_bytes(), releases.AUDITOR_BUNDLE: signed}
    assert pushes.commit(house.registry, repository, files, token=house.nora).status == 200
    for changed in [settings] if settings else []:
        address = f"/api/models/{repository}/settings"
        assert house.registry.request("PUT", address, token=house.registry.admin, json_body=changed).status == 200
    return release.embedding


@pytest.mark.parametrize(("seed", "settings"), [(11, {"private": True}), (12, {"gated": "manual"})])
def test_a_leak_found_where_few_may_read_is_told_of_the_same_bytes(
    house: House, seed: int, settings: dict[str, Any]
) -> None:
    name, rows = f"hidden{seed}", rows_of(seed)
    leaky = push_leaky(house, name, rows, **settings)
    assert push(house, f"lumc/copy{seed}", artifact=built(rows)).status == 200
    said = house.registry.get(f"/embhub/v1/audits/{leaky.digest}").json()
    words = ["the numbers of a release that not everybody may read, leak-detected by nki"]
    assert ([row["namespace"] for row in said["audits"]], said["nearly"]) == (["lumc"], words)
    assert nearly(house, f"lumc/copy{seed}") == words


def test_a_leak_is_shown_with_nearly_the_same_numbers(house: House) -> None:
    rows = rows_of(8)
    push_leaky(house, "leaky", rows)
    for name, other in (("ulp", one_unit(rows)), ("turned", turned(rows, 0.9996)), ("scaled", rows * 2)):
        assert push(house, f"lumc/{name}", artifact=built(other)).status == 200
        assert nearly(house, f"lumc/{name}") == ["nearly the numbers of radboud/leaky 1.0.0, leak-detected by nki"]
    assert push(house, "lumc/far", artifact=built(turned(rows, 0.99))).status == 200
    assert nearly(house, "lumc/far") == []


def test_numbers_in_quarantine_are_not_taken_under_another_header(house: House) -> None:
    rows = rows_of(9)
    assert push(house, "radboud/aside", artifact=built(rows)).status == 200
    act(house, "curate", "quarantine", "set", "radboud/aside", "--version", "1.0.0", "--reason", "a copy?")
    assert rule_of(push(house, "lumc/aside", artifact=built(rows, steps=201))) == (422, "quarantined")


def test_the_signed_list_binds_the_numbers(house: House) -> None:
    """A reader who was handed the file under another header finds its withdrawal without a registry."""
    rows = rows_of(10)
    assert push(house, "radboud/signed", artifact=built(rows)).status == 200
    act(house, "curate", "yank", "radboud/signed", "--scope", "bytes", "--reason", "found unsafe")
    washed = built(rows, steps=201)
    names = {"namespace": "lumc", "repository": "lumc/x", "version": "1.0.0", "digest": washed.digest}
    with house.registry.opened() as registry:
        envelope, key = advisories.current_envelope(registry), registry.trust().keyring.online_key("advisories")
    assert envelope is not None and key is not None
    said = Advisories.parse(envelope, key)
    assert [entry.reason for entry in said.against(**names, numbers=washed.numbers)] == ["found unsafe"]
    assert not said.against(**names, numbers=built(one_unit(rows)).numbers)


def test_a_statement_about_other_numbers_is_refused() -> None:
    good = releases.make_release()
    signed = statement.parse(good.publish_bundle.envelope.payload)
    assert signed.numbers == good.embedding.numbers
    wrong = statement.Statement(signed.digest, signed.predicate_type, signed.predicate, numbers="0" * 64)
    files = {**good.files, PUBLISH_BUNDLE: bundle.to_json(statement.sign(wrong, key=releases.SITE))}
    with pytest.raises(DigestMismatchError, match="numbers"):
        verification.verify(type(good).from_files(files), trust=releases.make_trust(), now=releases.NOW)
