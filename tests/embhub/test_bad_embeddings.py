"""What people hand in by mistake or in bad faith: embeddings."""

from __future__ import annotations

import os
import pickle
import resource
from pathlib import Path

import numpy as np
import pytest

from embhub.__main__ import main
from embhub.artifact import embedding
from embhub.release import files as release_files
from tests.support.quick import others_thorough
from tests.support.refusing import ARTIFACT, MALFORMED, USAGE, VERIFICATION, Refused
from tests.support.releases import ROOT, make_export, make_release
from tests.support.sites import Site


@pytest.mark.parametrize("kind", MALFORMED)
def test_each_malformed_file_is_refused_by_every_command_that_reads_one(
    site: Site, refused: Refused, kind: str
) -> None:
    path = site.folder / "bad.safetensors"
    path.write_bytes(MALFORMED[kind]())
    for command in (("show",), ("card", "init")):
        refused(*command, path, code=ARTIFACT)
    refused("sign", path, "radboud/x", code=ARTIFACT)
    refused("push", path, "radboud/x", "--dry-run", "--out", "outbox", code=ARTIFACT)


@pytest.mark.parametrize("kind", others_thorough(MALFORMED, list(MALFORMED)[::5]))
def test_in_a_release_it_is_tampering(site: Site, refused: Refused, kind: str) -> None:
    (site.folder / "export.json").write_bytes(make_export())
    assert main(["trust", "add", "export.json", "--fingerprint", ROOT.fingerprint]) == 0
    make_release().to_folder("pulled")
    Path("pulled", release_files.EMBEDDING).write_bytes(MALFORMED[kind]())
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
    from embhub.artifact import fingerprint
    from embhub.diffusion.bases.pipelines import find_base

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
