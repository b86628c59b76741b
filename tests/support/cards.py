"""A complete card to start from, and a strategy for any other."""

from __future__ import annotations

from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from embhub.cards.card_schema import PLACEHOLDERS
from embhub.cards.vocabulary import DEIDENTIFICATION, MODALITIES
from embhub.formats import group_counts


def complete(**changes: Any) -> dict[str, Any]:
    """Plain data of a sound card; a change to None leaves the field out."""
    values: dict[str, Any] = {
        "schema": "embhub.card/1",
        "name": "prostate-csPCa",
        "version": "1.0.0",
        "description": "Clinically significant prostate cancer on axial T2-weighted MRI.",
        "authors": ["Department of Radiology"],
        "publisher": "Example University Medical Centre",
        "contact_role": "research data office",
        "licence": "CC-BY-4.0",
        "licence_link": "https://creativecommons.org/licenses/by/4.0/",
        "base_model": {
            "id": "stabilityai/stable-diffusion-2-base",
            "revision": "5ede9e4bf3e3fd1cb0ef2f7a3fff13ee514fdf06",
            "family": "sd2",
            "fingerprint": "0" * 64,
            "licence": "LicenseRef-creativeml-openrail-m",
        },
        "token": "<cspca>",
        "vectors": [{"encoder": "text_encoder", "count": 64, "dim": 1024}],
        "modality": ["MR"],
        "sequence": "T2w",
        "view": "axial",
        "anatomy": [{"system": "RadLex", "code": "RID343", "display": "prostate"}],
        "finding": [{"system": "SNOMED CT", "code": "399068003", "display": "prostate cancer"}],
        "n_patients": "50-100",
        "n_images": 100,
        "max_images_per_patient": 3,
        "population": {"age_bands": {"50-64": 41, "65-79": "<10"}, "sex": {"male": 80}, "region": "Europe"},
        "acquisition": {"manufacturer": ["Siemens"], "years": "2015-2020"},
        "labels": {"source": "biopsy reports", "annotators": "two radiologists with over ten years of experience"},
        "preprocessing": "Middle slice of the lesion, cropped to 512 x 512, windowed to the 1st and 99th percentile.",
        "deidentification": {"profile": ["113100", "113101"], "pixel_review": "manual"},
        "legal_basis": "GDPR Art. 9(2)(j) with the national research exemption",
        "consent_or_waiver": "waiver of consent",
        "ethics_ref": "CMO 2016-3045",
        "intended_use": "Augmenting training sets in research.",
        "out_of_scope": "Diagnosis, or any decision about a patient.",
        "limitations": "One scanner; shows the lesion, not its grade.",
        "privacy": "none",
        "audit": {"verdict": "insufficient-evidence", "suite": "quick", "power": "an AUC of 0.62 or more"},
        "evaluation": [
            {"task": "classification", "dataset": "PROSTATEx", "metric": "AUC", "value": 0.8, "interval": [0.7, 0.9]}
        ],
    }
    return {name: value for name, value in (values | changes).items() if value is not None}


_visible = st.characters(codec="utf-8", exclude_categories=("C", "Z"))
_words = st.text(_visible, min_size=1, max_size=12)
lines = (
    st.lists(_words, min_size=1, max_size=6)
    .map(" ".join)
    .filter(lambda text: text.strip("?.…").lower() not in PLACEHOLDERS)
)
texts = st.lists(lines, min_size=1, max_size=4).map("\n".join)
counts = st.integers(1, 10**6) | st.tuples(st.integers(1, 500), st.integers(510, 1000)).map(
    lambda pair: f"{pair[0]}-{pair[1]}"
)
codes = st.builds(
    lambda number, display: {"system": "RadLex", "code": f"RID{number}", "display": display},
    st.integers(0, 10**6),
    lines,
)
people = st.integers(10, 1000)
cells = st.dictionaries(
    lines, people | people.map(lambda low: f"{low}-{low + 9}") | st.just("<10"), min_size=1, max_size=4
)


@st.composite
def cards(draw: st.DrawFn) -> dict[str, Any]:
    """Plain data of any sound card."""
    values = complete(
        name=draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)),
        version=".".join(str(draw(st.integers(0, 999))) for _ in range(3)),
        modality=draw(st.lists(st.sampled_from(sorted(MODALITIES)), min_size=1, max_size=3)),
        anatomy=draw(st.lists(codes, min_size=1, max_size=2)),
        finding=draw(st.lists(codes, max_size=2)),
        authors=draw(st.lists(lines, min_size=1, max_size=3)),
        n_patients=draw(counts.filter(lambda count: isinstance(count, str))),
        n_images=draw(counts),
        max_images_per_patient=draw(counts),
        licence=draw(st.sampled_from(["CC-BY-4.0", "MIT", "LicenseRef-Own", "Apache-2.0 OR MIT"])),
        population=draw(
            st.none() | st.fixed_dictionaries({}, optional={"age_bands": cells, "sex": cells, "region": lines})
        ),
        deidentification={
            "profile": draw(st.lists(st.sampled_from(sorted(DEIDENTIFICATION)), min_size=1)),
            "pixel_review": "none",
        },
        evaluation=draw(st.just([]) | st.just(complete()["evaluation"])),
    )
    shown = values.get("population") or {}
    tables = {name: shown[name] for name in ("age_bands", "sex") if name in shown}
    totals = [values["n_patients"], *([values["n_images"]] if values["max_images_per_patient"] == 1 else [])]
    assume(group_counts.find_fault(tables, totals) is None)
    for field in ("publisher", "contact_role", "legal_basis", "consent_or_waiver", "ethics_ref", "sequence"):
        values[field] = draw(lines)
    for field in ("description", "preprocessing", "intended_use", "out_of_scope", "limitations"):
        values[field] = draw(texts)
    return values
