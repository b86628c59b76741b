"""`/findings`: what is offered, by body region, and common findings that nobody offers yet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Literal, NamedTuple

from pydantic import Field

from embhub.formats.search_words import plain
from embhub_registry.database import Connection
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases import search
from embhub_registry.pages.lists.list_facts import Facts
from embhub_registry.pages.lists.list_page import Asked
from embhub_registry.people import auth

PATH = "/findings"
MOST = 12  # findings shown of a region


class _Words(NamedTuple):
    """Words by which an organ belongs to a region, and findings that are often looked for there."""

    organs: str
    common: Sequence[str]


_OTHER = "Other regions"
_REGIONS: dict[str, _Words] = {
    "Head and neck": _Words(
        "head neck brain cerebrum cerebellum cerebral cranial skull face eye retina orbit ear nose sinus mouth jaw"
        " mandible maxilla tooth teeth tongue larynx pharynx thyroid pituitary",
        ("glioma", "stroke", "metastasis", "retinopathy"),
    ),
    "Chest": _Words(
        "chest thorax thoracic lung pulmonary pleura rib mediastinum heart cardiac coronary trachea bronchus oesophagus"
        " esophagus",
        ("pneumonia", "effusion", "pneumothorax", "nodule", "cardiomegaly"),
    ),
    "Breast": _Words("breast mammary", ("mass", "calcification")),
    "Abdomen": _Words(
        "abdomen abdominal liver hepatic kidney renal pancreas spleen stomach gastric bowel intestine colon appendix"
        " gallbladder adrenal",
        ("metastasis", "cyst", "appendicitis", "cirrhosis"),
    ),
    "Pelvis": _Words(
        "pelvis pelvic prostate bladder uterus ovary cervix rectum testis", ("prostate cancer", "cyst", "endometriosis")
    ),
    "Spine": _Words("spine spinal vertebra vertebral sacrum disc disk", ("fracture", "scoliosis", "stenosis")),
    "Arms and legs": _Words(
        "arm leg limb extremity shoulder humerus elbow forearm radius ulna wrist hand finger hip femur knee tibia"
        " fibula ankle foot toe bone joint muscle",
        ("fracture", "osteoarthritis", "effusion", "tear"),
    ),
    "Skin": _Words("skin dermis", ("melanoma", "psoriasis", "carcinoma")),
}


class OfferedFinding(Facts):
    """A finding of an organ as cards spell it ("" for none), how many embeddings have it, and the list of them."""

    organ: str
    finding: str
    count: int
    address: str


class Region(Facts):
    """A body region: the most frequent findings `offered`, how many `more` there are, and common ones `missing`."""

    name: str
    offered: tuple[OfferedFinding, ...]
    more: int
    missing: tuple[str, ...]


class FindingsPage(Facts):
    """`/findings`: where `capped`, only the most frequent findings were looked through."""

    schema_: Literal["embhub.page.findings/1"] = Field(default="embhub.page.findings/1", alias="schema")
    registry: str
    regions: tuple[Region, ...]
    capped: bool


def collect(db: Connection, *, account: Account | None, registry: str) -> FindingsPage:
    """What is offered, as this account sees it."""
    counts, capped = search.count_pairs(db, readers=auth.readable(account))
    placed: dict[str, list[tuple[str, str, int]]] = {name: [] for name in (*_REGIONS, _OTHER)}
    for organ, finding, count in counts:
        placed[region_of(organ)].append((organ, finding, count))
    regions = (_region(name, offered) for name, offered in placed.items())
    shown = tuple(region for region in regions if region.offered or region.missing)
    return FindingsPage(registry=registry, regions=shown, capped=capped)


@cache
def _organs() -> dict[str, str]:
    return {word: name for name, known in _REGIONS.items() for word in _words(known.organs)}


def region_of(organ: str) -> str:
    """The region of an organ by its words; the last region that has one, as skin before the face that it is of."""
    names = {_organs()[word] for word in _words(organ) if word in _organs()}
    return next((name for name in reversed(_REGIONS) if name in names), _OTHER)


def _region(name: str, offered: Sequence[tuple[str, str, int]]) -> Region:
    said = [_words(organ) | _words(finding) for organ, finding, _ in offered]
    common = _REGIONS[name].common if name in _REGIONS else ()
    missing = tuple(finding for finding in common if not any(_words(finding) <= words for words in said))
    shown = tuple(_offered(*one) for one in offered[:MOST])
    return Region(name=name, offered=shown, more=len(offered) - len(shown), missing=missing)


def _offered(organ: str, finding: str, count: int) -> OfferedFinding:
    facets: dict[str, tuple[str, ...]] = {"anatomy": (organ,), "finding": (finding,) if finding else ()}
    return OfferedFinding(organ=organ, finding=finding, count=count, address=Asked(facets=facets).address())


@lru_cache(maxsize=4096)
def _words(text: str) -> frozenset[str]:
    """Words in one spelling, without the s of a plural."""
    return frozenset(word.rstrip("s") for word in re.findall(r"[a-z]+", plain(text)))
