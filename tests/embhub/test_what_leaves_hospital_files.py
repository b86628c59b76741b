"""From DICOM and NIfTI to a registry, by the commands a person types: no word of a header is sent, printed or kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.artifact import embedding
from embhub.audits.report import AuditReport
from embhub.formats import safe_yaml
from embhub.site.memory import runs
from embhub.site.memory.patients import is_keyed
from embhub.site.signing import keys
from tests.support import pipelines, planted, traffic
from tests.support.quick import quick
from tests.support.releases import make_card
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import Site

PATIENTS = 40  # a private split is drawn anew each time: of these fewer than ten train once in 600,000
DICOM = """
schema: embhub.volumes/1
folder: scans
issuer: Saint Wystan Infirmary
deidentification: {profile: ["113101"], pixel_review: manual, identified_headers: true}
volumes:
  - {path: "*", series: {Modality: MR}, plane: axial, slices: middle, label: finding}
"""
NIFTI = """
schema: embhub.volumes/1
folder: scans
deidentification: {profile: [not-dicom], pixel_review: manual}
volumes:
  - {path: "sub-*/*.nii.gz", patient_folder: "sub-*", plane: axial, slices: {index: [1]}, label: finding}
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipelines.write(tmp_path_factory.mktemp("bases") / "tiny-base")


def run(*words: str, code: int = 0) -> None:
    assert main(list(words)) == code, words


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("kind", quick(["dicom"], thorough=["dicom with a claim", "nifti"]))
def test_no_word_of_a_header_is_sent_printed_or_kept(
    registry: RunningRegistry,
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    name = kind.replace(" ", "-")
    private = kind.endswith("claim")
    with traffic.recorded(registry.url) as (middle, sent):
        site = Site(tmp_path / "saintwystan", middle.url, registry.add_user(name, namespace=name)).enter(monkeypatch)
        registry.add_key(keys.generate("default"), namespace=name)
        hidden = (planted.nifti if kind == "nifti" else planted.dicom)(site.folder / "source" / "scans", PATIENTS)
        config = site.folder / "source" / "volumes.yaml"
        config.write_text(NIFTI if kind == "nifti" else DICOM)
        run("inspect", "source", "--json", "--base", str(base))
        if kind == "dicom":  # without the statement the same files are refused, by keyword
            run("inspect", str(site.folder / "source" / "scans"), "--base", str(base), code=6)
        ways = ["--epsilon", "4", "--n-public", "10", "--subspace-dim", "4", "--batch-size", "5"]
        run(
            "train", "source", "--token", "<cspca>", "--caption", "prostate mri, {}", "--base", str(base),
            "--steps", "4", "--holdout", "0.4", "--device", "cpu", "--out", "stripes.safetensors",
            *(ways if private else ["--num-vectors", "2", "--seed", "918273645546372"]),
        )  # fmt: skip
        run("audit", "stripes.safetensors", "--device", "cpu", "--report", "evidence")
        if private:
            run("audit", "stripes.safetensors", "--device", "cpu", "--suite", "mechanism")
        run("card", "init", "stripes.safetensors")
        drafted = safe_yaml.load(Path("stripes.card.yaml").read_bytes())
        assert drafted["deidentification"]["pixel_review"] == "manual"
        artifact = embedding.read(Path("stripes.safetensors"))
        report = AuditReport.parse(Path("stripes.audit.json").read_bytes())
        answers = make_card(artifact, report=report, name="stripes", n_patients="10-50", n_images="10-50",
                            max_images_per_patient=5, deidentification=drafted["deidentification"])  # fmt: skip
        Path("stripes.card.yaml").write_bytes(safe_yaml.dump(answers))
        run("sign", "stripes.safetensors", f"{name}/stripes")
        assert not sent, "nothing may be sent before `push`"
        run("push", "stripes.safetensors", f"{name}/stripes", "--yes")
        run("budget", "show", "--json")

    record = runs.find(artifact.digest)
    assert record is not None and len(record.members) + len(record.holdout) == PATIENTS
    people = {sample.patient_id for sample in (*record.members, *record.holdout)}
    assert len(people) == PATIENTS and all(map(is_keyed, people))
    keyed = {f"keyed id {at}": bytes.fromhex(one.removeprefix("keyed-")) for at, one in enumerate(sorted(people))}
    everything = hidden.header | hidden.local | keyed
    assert traffic.search(sent, everything) == set()
    assert traffic.search([artifact.data], {"token": b"<cspca>"}) == {"token"}, "the search finds what is there"

    printed = "".join(capfd.readouterr()).encode()
    assert b"stripes.safetensors" in printed
    assert traffic.search([printed], everything) == set()

    source = site.folder / "source"
    for path in (path for path in site.folder.rglob("*") if path.is_file() and source not in path.parents):
        private_record = path.parent == site.folder / "home" / "state" / "runs"
        kept = hidden.header if private_record else hidden.header | hidden.local
        assert traffic.search([path.read_bytes()], kept) == set(), path.relative_to(site.folder)
