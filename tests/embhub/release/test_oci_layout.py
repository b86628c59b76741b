"""A release as an OCI image layout: of the media types that others know, and read back to the byte."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub.client.pulling.opening import open_path
from embhub.errors import UsageError
from embhub.refusals import DigestMismatchError, FileTooLargeError, UnsignedError
from embhub.release import files as release_files
from embhub.release import oci_layout, verification
from embhub.release.files import Release
from tests.support.damage import damaged, odd_json
from tests.support.quick import examples
from tests.support.releases import NOW, make_release, make_sheet, make_trust

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
TITLE = "org.opencontainers.image.title"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def build(release: Release) -> tuple[dict[str, bytes], list[str]]:
    return oci_layout.build(release, verification.verify(release, trust=make_trust(), now=NOW))


def write(files: dict[str, bytes], folder: Path) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def release() -> Release:
    made = make_release(sheet=make_sheet())
    return made.with_files({**made.files, "attestations/publish.tlog-proof": b"c2sp.org/tlog-proof@v1\n"})


@pytest.fixture
def layout(release: Release, tmp_path: Path) -> Path:
    return write(build(release)[0], tmp_path / "layout")


def blob(folder: Path, descriptor: dict[str, Any]) -> Any:
    data = (folder / oci_layout.BLOBS / descriptor["digest"].removeprefix("sha256:")).read_bytes()
    assert descriptor["size"] == len(data) and descriptor["digest"] == f"sha256:{release_files.digest(data)}"
    return json.loads(data) if descriptor["mediaType"].endswith("+json") else data


def add(folder: Path, document: dict[str, Any]) -> dict[str, Any]:
    data = json.dumps(document).encode()
    digest = release_files.digest(data)
    (folder / oci_layout.BLOBS / digest).write_bytes(data)
    return {"mediaType": MANIFEST, "digest": f"sha256:{digest}", "size": len(data)}


def top(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "index.json").read_bytes())["manifests"]


def change_top(folder: Path, manifests: list[dict[str, Any]]) -> None:
    document = json.loads((folder / "index.json").read_bytes())
    (folder / "index.json").write_text(json.dumps(document | {"manifests": manifests}))


def test_the_model_is_of_modelpacks_types(layout: Path, release: Release) -> None:
    assert json.loads((layout / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    first = top(layout)[0]
    model = blob(layout, first)
    assert first["mediaType"] == model["mediaType"] == MANIFEST and model["schemaVersion"] == 2
    assert model["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert model["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    layers = {layer["annotations"]["org.cncf.model.filepath"]: layer for layer in model["layers"]}
    assert list(layers) == ["learned_embeds.safetensors", "README.md", "audit.json", "samples.png"]
    kinds = [layer["mediaType"].removeprefix("application/vnd.cncf.model.") for layer in layers.values()]
    assert kinds == ["weight.v1.raw", "doc.v1.raw", "doc.v1.raw", "doc.v1.raw"]
    config = blob(layout, model["config"])
    assert set(config) == {"descriptor", "config", "modelfs"}
    assert config["modelfs"] == {"type": "layers", "diffIds": [layer["digest"] for layer in model["layers"]]}
    assert config["descriptor"]["licenses"] == ["CC-BY-4.0"] and config["descriptor"]["version"] == "1.0.0"


def test_attestations_refer_to_the_model_under_the_tag_of_referrers(layout: Path, release: Release) -> None:
    model, listed = top(layout)
    tags = [one["annotations"]["org.opencontainers.image.ref.name"] for one in (model, listed)]
    assert tags == ["1.0.0", model["digest"].replace(":", "-")] == build(release)[1]
    index = blob(layout, listed)
    assert index["mediaType"] == listed["mediaType"] == INDEX
    referrers = [blob(layout, one) for one in index["manifests"]]
    assert [one["artifactType"] for one in index["manifests"]] == [one["artifactType"] for one in referrers]
    found = {one["layers"][0]["annotations"][TITLE]: one for one in referrers}
    assert set(found) == {name for name in release.files if name.startswith("attestations/")}
    for name, one in found.items():
        assert one["subject"] == {name: model[name] for name in ("mediaType", "digest", "size")}
        assert one["config"]["mediaType"] == "application/vnd.oci.empty.v1+json" and blob(layout, one["config"]) == {}
        kind = BUNDLE if name.endswith(".sigstore.json") else "text/plain"
        assert one["artifactType"] == one["layers"][0]["mediaType"] == kind and len(one["layers"]) == 1


def test_it_is_read_back_to_the_byte(layout: Path, release: Release) -> None:
    assert oci_layout.read(layout).files == release.files
    assert build(release) == build(release)


def test_entries_without_a_type_are_read_as_skopeo_writes_them(layout: Path, release: Release) -> None:
    change_top(layout, [{name: one[name] for name in ("mediaType", "digest", "size")} for one in top(layout)])
    assert oci_layout.read(layout).files == release.files


def test_without_its_referrers_nothing_vouches_for_it(layout: Path) -> None:
    change_top(layout, top(layout)[:1])
    with pytest.raises(UnsignedError):
        open_path(layout)


def test_what_refers_to_something_else_is_no_part_of_it(layout: Path, tmp_path: Path, release: Release) -> None:
    other = write(build(make_release(version="1.1.0"))[0], tmp_path / "other")
    for path in (other / oci_layout.BLOBS).iterdir():
        (layout / oci_layout.BLOBS / path.name).write_bytes(path.read_bytes())
    change_top(layout, [*top(layout), top(other)[1]])
    assert oci_layout.read(layout).files == release.files
    change_top(layout, [*top(layout), top(other)[0]])
    with pytest.raises(UsageError, match="holds 2 models"):
        oci_layout.read(layout)


def test_a_title_becomes_no_path_and_two_files_of_one_name_are_refused(layout: Path, release: Release) -> None:
    model, listed = top(layout)
    referrer = blob(layout, blob(layout, listed)["manifests"][0])
    (layer,) = referrer["layers"]
    for title in ("../../x", "/etc/passwd", "attestations/../README.md", "a/README.md", ""):
        more = add(layout, referrer | {"layers": [{"digest": model["digest"], "annotations": {TITLE: title}}]})
        change_top(layout, [model, listed, more])
        assert oci_layout.read(layout) == release
    other = add(layout, referrer | {"layers": [layer | {"digest": model["digest"]}]})
    change_top(layout, [model, listed, other])
    with pytest.raises(UsageError, match="two files attestations/"):
        oci_layout.read(layout)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ("not JSON", "no OCI layout"),
        ('{"manifests": [{"digest": "sha256:../../etc/passwd"}]}', "malformed"),
        ('{"manifests": [{"digest": "sha256:%s"}]}' % ("0" * 64), "cannot read"),
        ('{"manifests": []}', "holds 0 models"),
    ],
)
def test_a_broken_layout_is_refused_in_words(layout: Path, index: str, words: str) -> None:
    (layout / "index.json").write_text(index)
    with pytest.raises(UsageError, match=words):
        oci_layout.read(layout)


def test_weights_beside_a_layout_would_not_be_verified(layout: Path) -> None:
    (layout / "learned_embeds.safetensors").write_bytes(b"other")
    with pytest.raises(UsageError, match="no part of an OCI layout"):
        open_path(layout)


@settings(max_examples=examples(100))
@given(data=st.data())
def test_a_damaged_file_is_refused_or_changes_nothing(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every blob has the digest that names it; an index that says less leaves files out, and none is another."""
    release, files = made()
    name = data.draw(st.sampled_from(sorted(files)))
    kinds = [damaged(files[name])] + [odd_json(files[name])] * (name == "index.json")
    changed = data.draw(st.one_of(kinds))
    folder = write({**files, name: changed}, tmp_path_factory.mktemp("layout"))
    try:
        found = oci_layout.read(folder)
    except (UsageError, DigestMismatchError, FileTooLargeError):
        assert changed != files[name]
    else:
        assert found.files.items() <= release.files.items()
        assert found == release or name == "index.json"


@cache
def made() -> tuple[Release, dict[str, bytes]]:
    release = make_release()
    return release, build(release)[0]


def test_no_file_is_read_beyond_its_limit(layout: Path) -> None:
    layer = blob(layout, top(layout)[0])["layers"][0]
    path = layout / oci_layout.BLOBS / layer["digest"].removeprefix("sha256:")
    path.write_bytes(bytes(release_files.LIMITS[release_files.EMBEDDING] + 1))
    with pytest.raises(FileTooLargeError):
        oci_layout.read(layout)


def test_manifests_are_counted(layout: Path) -> None:
    model, listed = top(layout)
    lists = [[add(layout, {"number": number}) for number in range(start, start + 60)] for start in (0, 60)]
    change_top(layout, [model, listed, add(layout, {"manifests": lists[0]})])
    oci_layout.read(layout)
    change_top(layout, [model, listed, *(add(layout, {"manifests": each}) for each in lists)])
    with pytest.raises(UsageError, match="more than 100 manifests"):
        oci_layout.read(layout)
    change_top(layout, [model] * 101)
    with pytest.raises(UsageError, match="malformed"):
        oci_layout.read(layout)
