"""`/log` of a running registry: what is published is in the log when the push returns, and anybody can check it."""

from __future__ import annotations

import pytest

from embhub.client.log import log_reader
from embhub.client.log.http_log import HttpLog
from embhub.log import checkpoints, leaves, merkle, proofs, tiles
from embhub.log.notes import VerifierKey
from embhub.trust import bundle, logged
from tests.registry.conftest import House
from tests.support import logs, pushes, releases


def key_of(house: House) -> VerifierKey:
    with house.registry.opened() as registry:
        key = registry.trust().keyring.log_key
    assert key is not None
    return key


def test_a_release_and_its_audits_are_in_the_log_when_the_push_returns(house: House) -> None:
    files = dict(releases.make_release(repository="radboud/logged").files)
    pushes.create(house.registry, "logged", token=house.alice)
    assert pushes.commit(house.registry, "radboud/logged", files, token=house.alice).status == 200
    for name, signer in [("publish", releases.SITE), ("audit", releases.SITE)]:
        leaf = logged.leaf_of(
            bundle.parse(files[f"attestations/{name}.sigstore.json"]).envelope, signer.public
        ).to_bytes()
        answer = house.registry.get(f"/log/proof/{merkle.leaf_hash(leaf).hex()}")
        assert answer.status == 200 and answer.header("content-type") == "text/plain; charset=utf-8"
        signed = proofs.parse(answer.body).open(leaf, log=key_of(house))
        assert b"radboud" not in leaf and b"logged" not in leaf, "an entry names nobody"
        served = checkpoints.open_signed(house.registry.get("/log/checkpoint").body, log=key_of(house))
        assert served.size >= signed.size


def test_the_whole_log_can_be_read_and_is_what_was_signed(house: House) -> None:
    signed = checkpoints.open_signed(house.registry.get("/log/checkpoint").body, log=key_of(house))
    entries: list[bytes] = []
    for tile in tiles.all_of(signed.size):
        answer = house.registry.get(f"/log/{tile.path}")
        assert answer.status == 200 and "immutable" in (answer.header("cache-control") or "")
        if tile.level is None:
            entries += tiles.split_entries(answer.body, tile.width)
    assert merkle.root_of(map(merkle.leaf_hash, entries)) == signed.root
    assert all(leaves.parse(entry).fingerprint.startswith("SHA256:") for entry in entries)
    logs.audit(house.registry.folder / "log", key_of(house))


@pytest.mark.parametrize(
    "path",
    ["tile/0/901", "tile/0/900.p/255", "tile/0/900", "tile/9/000.p/1", "tile/entries/x001/000", "tile/0/000.p/0",
     "tile/../checkpoint", "tile/%2e%2e/%2e%2e/registry.db", "tile/0/000.p/1/../1", "proof/00", "proof/" + "0" * 64,
     "proof/" + "A" * 64, "tile/", "other"],
)  # fmt: skip
def test_there_is_nothing_else_below_log(house: House, path: str) -> None:
    assert house.registry.get(f"/log/{path}").status in (400, 404)


def test_an_absent_entry_is_not_looked_for_among_the_tiles(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that makes proofs is believed that it has none: a search would read the whole log for each."""
    asked: list[str] = []
    whole = HttpLog.read

    def read(self: HttpLog, name: str, *, limit: int) -> bytes | None:
        asked.append(name)
        return whole(self, name, limit=limit)

    monkeypatch.setattr(HttpLog, "read", read)
    assert log_reader.proof(HttpLog(house.registry.url), b"no entry") is None
    assert asked == [f"proof/{merkle.leaf_hash(b'no entry').hex()}"]


def test_a_namespace_cannot_be_called_log(house: House) -> None:
    done = house.registry.run("user", "add", "eve", "--namespace", "log", "--role", "reader", check=False)
    assert done.returncode == 2 and "reserved" in done.stderr


def test_the_operator_sees_the_log(house: House) -> None:
    said = house.registry.ask("log", "show")
    assert said["vkey"] == str(key_of(house)) and said["key_is_here"] and said["signed"] == said["entries"] >= 1
    assert house.registry.ask("log", "repair")["entries"] == said["signed"]
    assert house.registry.run("log", "begin", check=False).returncode == 2
