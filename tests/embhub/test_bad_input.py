"""What people hand to the commands by mistake or in bad faith: words, a hint, a code, and nothing left behind.

Each case runs the real command. `refused` holds it to the rules: the family's exit code (tampering is 4 or 5), no
traceback, nothing on stdout, and not one file more, less or changed than before.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embhub import embedding
from embhub import release as layout
from embhub.__main__ import main
from embhub.site import site_files
from tests import hostile
from tests.releases import REPOSITORY, ROOT, STRANGER, make_card, make_embedding, make_export, make_release, replaced
from tests.servers import RunningRegistry, start_registry
from tests.sites import Site, new_key, open_site

USAGE, ARTIFACT, VERIFICATION, REGISTRY, PRIVACY, CONFIG = 2, 3, 4, 5, 6, 7
Refused = Callable[..., str]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path / "site").enter(monkeypatch)


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    def look(path: Path) -> tuple[int, bytes]:
        with path.open("rb") as stream:
            return path.stat().st_size, stream.read(2_000_000)

    return {str(path): look(path) for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Refused:
    """Run a command that must fail with `code`; returns what it said."""

    def run(*words: str | Path, code: int) -> str:
        before = snapshot(tmp_path)
        capsys.readouterr()
        got = main([str(word) for word in words])
        said = capsys.readouterr()
        assert got == code, said.err
        assert "error: " in said.err and "hint: " in said.err
        assert "Traceback" not in said.err and "unexpected" not in said.err
        assert not said.out
        assert snapshot(tmp_path) == before
        return said.err

    return run


# ── images ─────────────────────────────────────────────────────────────────────────────────────────────────────────

TRAIN = ("--token", "<cspca>", "--caption", "axial t2 mri, {}", "--steps", "2", "--out", "out.safetensors")


def draw(path: Path, *, seed: int = 0, size: tuple[int, int] = (64, 64)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0]), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def test_not_an_image(site: Site, refused: Refused) -> None:
    for number in range(3):
        draw(site.folder / f"images/{number}.png", seed=number)
    (site.folder / "images/3.png").write_bytes(b"this is no image")
    refused("train", "images", *TRAIN, code=USAGE)


@pytest.mark.parametrize("number", [0, 1])
def test_no_image_or_a_single_one(site: Site, refused: Refused, number: int) -> None:
    (site.folder / "images").mkdir()
    for index in range(number):
        draw(site.folder / f"images/{index}.png")
    refused("train", "images", *TRAIN, code=USAGE)


def test_a_folder_that_is_not_there(site: Site, refused: Refused) -> None:
    refused("train", "nowhere", *TRAIN, code=USAGE)


def test_sizes_of_which_some_are_too_small(site: Site, refused: Refused) -> None:
    """Other mixtures are cut to their central squares, with a remark."""
    for number, size in enumerate([(64, 64), (80, 96), (16, 16)]):
        draw(site.folder / f"images/{number}.png", seed=number, size=size)
    refused("train", "images", *TRAIN, code=USAGE)


@pytest.mark.parametrize("name", ["Janssen_Maria_1954-03-12", "1.2.840.113619.2.55.3.2831.776", "MRN-00482913"])
def test_names_that_look_like_patients(site: Site, refused: Refused, name: str) -> None:
    for number in range(3):
        draw(site.folder / f"images/{number}.png", seed=number)
    draw(site.folder / f"images/{name}.png", seed=9)
    said = refused("train", "images", *TRAIN, code=PRIVACY)
    assert name not in said


@pytest.mark.parametrize("token", ["<CSPCA>", "cspca", "<cs pca>", "<cspca_1>", "<>", "", "<cspcä>"])
def test_a_token_that_loaders_would_mangle(site: Site, refused: Refused, token: str) -> None:
    draw(site.folder / "images/0.png")
    words = ["--token", token, "--caption", "x, {}", "--out", "out.safetensors"]
    refused("train", "images", *words, code=ARTIFACT)


def test_a_place_that_cannot_hold_the_result(site: Site, refused: Refused) -> None:
    for number in range(3):
        draw(site.folder / f"images/{number}.png", seed=number)
    (site.folder / "taken.safetensors").write_bytes(b"mine")
    (site.folder / "folder.safetensors").mkdir()
    for out, code in (("taken.safetensors", USAGE), ("out.pt", USAGE), ("taken.safetensors/out.safetensors", CONFIG)):
        refused("train", "images", *TRAIN[:-1], out, code=code)


# ── embeddings ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _file(header: bytes, body: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + body


def _edit(change: Callable[[dict[str, object]], object], body: Callable[[bytes], bytes] = lambda b: b) -> bytes:
    data = make_embedding().data
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    change(header)
    return _file(json.dumps(header).encode(), body(data[8 + length :]))


def _rows(header: dict[str, object]) -> dict[str, list[int]]:
    return header["emb_params"]  # type: ignore[return-value]


def _numbers(value: float) -> bytes:
    rows = np.full((8, 32), 0.1, dtype=np.float16)
    rows[3, 3] = value
    return _edit(lambda header: None, lambda _: rows.tobytes())


MALFORMED: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"<html>not found</html>",
    "cut": lambda: make_embedding().data[:-1],
    "trailing bytes": lambda: make_embedding().data + b"x",
    "a gap between header and data": lambda: _edit(
        lambda h: _rows(h).update(data_offsets=[2, 514]), lambda b: b"xx" + b
    ),
    "offsets out of range": lambda: _edit(lambda h: _rows(h).update(data_offsets=[0, 10**12])),
    "offsets backwards": lambda: _edit(lambda h: _rows(h).update(data_offsets=[512, 0])),
    "overlapping tensors": lambda: _edit(lambda h: h.update(other=dict(_rows(h)))),
    "a name twice": lambda: (
        lambda d: _file(b'{"emb_params":{},' + d[9 : 8 + struct.unpack("<Q", d[:8])[0]], d[-512:])
    )(make_embedding().data),
    "a huge header": lambda: struct.pack("<Q", 2**62) + b"{}",
    "a header of half a megabyte": lambda: _edit(lambda h: h["__metadata__"].update(x="y" * 500_000)),  # type: ignore[attr-defined]
    "a wrong dtype": lambda: _edit(lambda h: _rows(h).update(dtype="I16")),  # type: ignore[call-overload]
    "not a number": lambda: _numbers(np.nan),
    "infinity": lambda: _numbers(np.inf),
    "oversized": lambda: make_embedding().data + b"\0" * 1_000_000,
    "a pickle": lambda: pickle.dumps({"string_to_param": [1, 2, 3]}, protocol=2),
    "a zipped pickle": lambda: b"PK\x03\x04" + b"\0" * 100,
    "an unknown layout": lambda: _edit(lambda h: h.update(weights=h.pop("emb_params"))),
    "no header of ours": lambda: _edit(lambda h: h.pop("__metadata__")),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_each_malformed_file_is_refused_by_every_command_that_reads_one(
    site: Site, refused: Refused, kind: str
) -> None:
    path = site.folder / "bad.safetensors"
    path.write_bytes(MALFORMED[kind]())
    for command in (("show",), ("card", "init")):
        refused(*command, path, code=ARTIFACT)
    refused("sign", path, "--repository", "radboud/x", code=ARTIFACT)
    refused("push", path, "radboud/x", "--dry-run", "--out", "outbox", code=ARTIFACT)


@pytest.mark.parametrize("kind", MALFORMED)
def test_in_a_release_it_is_tampering(site: Site, refused: Refused, kind: str) -> None:
    (site.folder / "export.json").write_bytes(make_export())
    assert main(["trust", "add", "export.json", "--fingerprint", ROOT.fingerprint]) == 0
    make_release().to_folder("pulled")
    Path("pulled", layout.EMBEDDING).write_bytes(MALFORMED[kind]())
    refused("verify", "pulled", code=VERIFICATION)


def test_two_gigabytes_under_that_name_are_not_read(site: Site, refused: Refused) -> None:
    path = site.folder / "huge.safetensors"
    with path.open("wb") as stream:
        stream.truncate(2_000_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused("show", path, code=ARTIFACT)
    refused("push", path, "radboud/x", "--dry-run", "--out", "outbox", code=ARTIFACT)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB
    path.unlink()


def test_a_pickle_under_a_safetensors_name_is_named_as_one(site: Site, refused: Refused) -> None:
    path = site.folder / "bad.safetensors"
    path.write_bytes(MALFORMED["a pickle"]())
    assert "pickle" in refused("show", path, code=ARTIFACT)


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/embhub-was-here",)


def test_a_pickle_that_runs_something_runs_nothing(site: Site, refused: Refused) -> None:
    (site.folder / "evil.pt").write_bytes(pickle.dumps({"string_to_param": _Evil()}, protocol=2))
    words = ("--base-family", "sd2", "--token", "<x>", "--out", "x.safetensors")
    refused("import", "evil.pt", *words, code=ARTIFACT)
    assert not Path("/tmp/embhub-was-here").exists()


def _embedding_for(base: str, token: str, out: Path) -> None:
    from embhub import fingerprint
    from embhub.diffusion.pipelines import find_base

    found = find_base(base)
    rows = np.random.default_rng(0).normal(size=(2, 128)) * 0.05
    made = embedding.build(
        {"emb_params": rows}, token=token, base=fingerprint.take(found.folder), base_name=found.name, training={}
    )
    out.write_bytes(made.data)


def test_a_wrong_base_and_a_colliding_token(site: Site, refused: Refused) -> None:
    _embedding_for("builtin", "<a>", site.folder / "a.safetensors")
    _embedding_for("builtin", "<a>", site.folder / "again.safetensors")
    drawing = ("--steps", "1", "-n", "1", "--out", "samples")
    refused("generate", "x <a>", "--embedding", "a.safetensors", "--base", "builtin-xray", *drawing, code=ARTIFACT)
    twice = ("--embedding", "a.safetensors", "--embedding", "again.safetensors")
    refused("generate", "x <a>", *twice, *drawing, code=ARTIFACT)
    refused("generate", "x", "--embedding", "a.safetensors", *drawing, code=USAGE)
    refused("generate", "x", "--base", "nowhere", *drawing, code=USAGE)
    assert not Path("samples").exists()


# ── cards and signatures ───────────────────────────────────────────────────────────────────────────────────────────


def test_an_incomplete_card_lists_everything_that_is_missing(site: Site, refused: Refused) -> None:
    path = site.make()
    drafted = site.folder / "draft.card.yaml"
    drafted.write_text("schema: embhub.card/1\nname: x\n")
    said = refused("card", "check", drafted, code=ARTIFACT)
    for field in ("version", "authors", "legal_basis", "intended_use", "limitations", "modality"):
        assert f"{field} is missing" in said
    assert main(["key", "new"]) == 0
    refused("sign", path, "--card", drafted, "--repository", "radboud/x", code=ARTIFACT)
    drafted.write_bytes(b"\xff\xfe\x00")
    refused("card", "check", drafted, code=ARTIFACT)
    drafted.write_text("a: &a [*a]\n" + "b: " * 50)
    refused("card", "check", drafted, code=ARTIFACT)


def test_a_card_of_another_embedding(site: Site, refused: Refused) -> None:
    path = site.make()
    other = make_card(make_embedding(token="<other>"))
    from embhub.formats import safe_yaml

    site_files.beside(path, site_files.CARD).write_bytes(safe_yaml.dump(other))
    assert main(["key", "new"]) == 0
    refused("sign", path, "--repository", "radboud/x", code=ARTIFACT)


@pytest.fixture
def pulled(site: Site) -> Path:
    (site.folder / "export.json").write_bytes(make_export())
    assert main(["trust", "add", "export.json", "--fingerprint", ROOT.fingerprint]) == 0
    return site.folder / "pulled"


TAMPERED = {
    "by another key": lambda: make_release(key=STRANGER),
    "the card": lambda: replaced(make_release(), card=make_release(limitations="none").files[layout.CARD]),
    "the audit": lambda: replaced(make_release(), audit=make_release().files[layout.AUDIT].replace(b"0.", b"1.", 1)),
    "the tensor": lambda: replaced(make_release(), embedding=make_embedding(seed=4).data),
    "the bundle": lambda: replaced(make_release(), publish_bundle=b"{}"),
    "no bundle": lambda: replaced(make_release(), publish_bundle=None),
    "the audit's bundle": lambda: replaced(
        make_release(), audit_bundle=make_release(repository="radboud/other").files[layout.AUDIT_BUNDLE]
    ),
    "another version's bundle": lambda: replaced(
        make_release(), publish_bundle=make_release(version="9.0.0").files[layout.PUBLISH_BUNDLE]
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_whatever_was_edited_is_code_4(pulled: Path, refused: Refused, what: str) -> None:
    TAMPERED[what]().to_folder(pulled)
    said = refused("verify", pulled, code=VERIFICATION)
    assert "failed" in said


def test_another_repositorys_bundle_is_code_4(site: Site, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    with hostile.serve() as liar:
        liar.files, liar.export = make_release(repository="radboud/other").files, make_export()
        assert main(["trust", "add", liar.url, "--fingerprint", ROOT.fingerprint]) == 0
        monkeypatch.setenv("EMBHUB_REGISTRY", liar.url)
        refused("pull", REPOSITORY, code=VERIFICATION)
        refused("verify", REPOSITORY, code=VERIFICATION)


# ── registries ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    running = start_registry(tmp_path_factory.mktemp("registry"))
    yield running
    running.stop()


@pytest.fixture
def signed(registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    name = f"n{abs(hash(str(tmp_path))) % 10**8}"
    found = open_site(registry, tmp_path / "site", namespace=name, user=name).enter(monkeypatch)
    new_key(registry, namespace=name)
    assert main(["sign", str(found.make()), "--repository", f"{name}/prostate-cspca"]) == 0
    return found


def test_an_unknown_namespace(signed: Site, refused: Refused) -> None:
    path = signed.make("other", seed=1)
    assert main(["sign", str(path), "--repository", "nobody/other"]) == 0
    refused("push", path, code=REGISTRY)


def test_tokens_that_do_not_count(
    registry: RunningRegistry, signed: Site, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = registry.add_user(f"f-{signed.folder.parent.name[-12:]}".lower().replace("_", "-"), namespace="foreign")
    revoked = str(registry.ask("token", "new", "admin")["token"])
    assert main(["push", "prostate-cspca.safetensors"]) == 0
    registry.run("token", "revoke", revoked)
    for token in (foreign, revoked, "emb_" + "a" * 43):
        monkeypatch.setenv("EMBHUB_TOKEN", token)
        refused("push", "prostate-cspca.safetensors", code=REGISTRY)
    monkeypatch.setenv("EMBHUB_TOKEN", "two words")
    refused("push", "prostate-cspca.safetensors", code=CONFIG)
    monkeypatch.setenv("EMBHUB_TOKEN", "")
    refused("login", "--token", revoked, code=REGISTRY)


def test_a_registry_that_is_down(signed: Site, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    (signed.folder / "export.json").write_bytes(make_export())
    assert main(["trust", "add", "export.json", "--fingerprint", ROOT.fingerprint]) == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("EMBHUB_REGISTRY", f"http://127.0.0.1:{free.getsockname()[1]}")
    for words in (
        ("push", "prostate-cspca.safetensors"),
        ("pull", REPOSITORY),
        ("show", REPOSITORY),
        ("verify", REPOSITORY),
        ("login", "--token", "emb_x"),
        ("trust", "add", os.environ["EMBHUB_REGISTRY"], "--fingerprint", ROOT.fingerprint),
    ):
        assert "cannot be reached" in refused(*words, code=REGISTRY)


@pytest.mark.parametrize("body", [b"<html>log in first</html>", b"", b"[]", b"{}", b"null", b"\xff"])
def test_a_registry_that_answers_nonsense(
    signed: Site, refused: Refused, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    (signed.folder / "export.json").write_bytes(make_export())
    assert main(["trust", "add", "export.json", "--fingerprint", ROOT.fingerprint]) == 0
    with hostile.serve() as liar:
        liar.lies["/"] = lambda handler: handler.send(200, body)
        monkeypatch.setenv("EMBHUB_REGISTRY", liar.url)
        for words in (("push", "prostate-cspca.safetensors"), ("pull", REPOSITORY), ("login", "--token", "emb_x")):
            refused(*words, code=REGISTRY)
        said = refused("trust", "refresh", liar.url, code=CONFIG)
        assert "no root key is pinned" in said


# ── disks ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount small file systems; skips where this machine does not let us."""
    mounted: list[Path] = []

    def mount(name: str, options: str) -> Path:
        place = tmp_path / name
        place.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True)
        if done.returncode:
            pytest.skip("mounting a file system needs root")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def source(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site that may pull a release from somewhere."""
    with hostile.serve() as server:
        server.files, server.export = make_release().files, make_export()
        assert main(["trust", "add", server.url, "--fingerprint", ROOT.fingerprint]) == 0
        monkeypatch.setenv("EMBHUB_REGISTRY", server.url)
        yield site


def test_a_full_disk(source: Site, refused: Refused, tmpfs: Callable[..., Path]) -> None:
    place = tmpfs("full", "size=16k")
    refused("pull", REPOSITORY, "--out", place / "deep/pulled", code=CONFIG)
    refused("pull", REPOSITORY, "--out", place, code=CONFIG)
    assert not list(place.rglob("*.safetensors"))
    (place / "filler").write_bytes(b"x" * 8_000)
    path = source.make()
    assert main(["key", "new"]) == 0
    assert main(["sign", str(path), "--repository", "radboud/x"]) == 0
    refused("push", path, "radboud/x", "--dry-run", "--out", place / "outbox", code=CONFIG)
    assert not (place / "outbox").exists()


def test_a_read_only_folder(source: Site, refused: Refused, tmpfs: Callable[..., Path]) -> None:
    place = tmpfs("read-only", "size=64k,ro")
    assert main(["key", "new"]) == 0
    path = source.make()
    for number in range(3):
        draw(source.folder / f"images/{number}.png", seed=number)
    for words in (
        ("pull", REPOSITORY, "--out", place / "pulled"),
        ("push", path, "radboud/x", "--dry-run", "--out", place / "outbox"),
        ("card", "init", path, "--out", place / "x.card.yaml"),
        ("generate", "x", "--steps", "1", "--out", place / "samples"),
        ("train", "images", *TRAIN[:-1], place / "out.safetensors"),
    ):
        refused(*words, code=CONFIG)


def test_a_home_that_cannot_be_written(
    source: Site, refused: Refused, tmpfs: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmpfs("home", "size=64k,ro")))
    refused("key", "new", code=CONFIG)
    refused("trust", "add", source.folder / "export.json", "--fingerprint", ROOT.fingerprint, code=USAGE)
    (source.folder / "export.json").write_bytes(make_export())
    refused("trust", "add", source.folder / "export.json", "--fingerprint", ROOT.fingerprint, code=CONFIG)


def test_a_file_that_may_not_grow(source: Site) -> None:
    """What a quota does, on any machine: EFBIG in the middle of a write."""
    code = (
        "import resource, sys\nfrom embhub.__main__ import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\nsys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "pull", REPOSITORY, "--out", "pulled"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=source.folder)
    assert done.returncode == CONFIG, done.stderr
    assert "Traceback" not in done.stderr and "hint: " in done.stderr
    assert not (source.folder / "pulled").exists()
    assert not [path for path in source.folder.iterdir() if path.name.startswith(".")]
