"""The pages: what they say, and that nothing in them can be turned against their reader."""

from __future__ import annotations

import html
import re

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from embhub.release.files import EMBEDDING
from tests.registry.conftest import House
from tests.support import releases
from tests.support.servers import Answer

NAME = "radboud/page-of-one"
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def published(house: House) -> str:
    release = releases.make_release(repository=NAME, description=f"Prostate {EVIL}", name="page-of-one")
    api = HfApi(endpoint=house.registry.url, token=house.alice)
    api.create_repo(NAME)
    api.create_repo("radboud/page-empty")
    additions = [CommitOperationAdd(path, data) for path, data in release.files.items()]
    return api.create_commit(NAME, additions, commit_message=f"Publish {EVIL}").oid


def page(house: House, path: str, *, status: int = 200) -> tuple[Answer, str]:
    answer = house.registry.get(path, headers={"Accept": "text/html"})
    assert answer.status == status
    assert str(answer.header("content-type")).startswith("text/html")
    text = answer.body.decode()
    policy = str(answer.header("content-security-policy"))
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "'unsafe-inline'" not in policy
    assert "<script>" not in text and "onerror=alert" not in html.unescape(text).replace(EVIL, "")
    assert not re.search(r'(?:src|href)="(?:https?:)?//(?!127\.0\.0\.1|creativecommons)', text), (
        "pages are self-contained"
    )
    return answer, html.unescape(re.sub(r"<[^>]+>", " ", text))


def test_an_embeddings_page(house: House, published: str) -> None:
    _, text = page(house, f"/{NAME}")
    for words in (
        "Signed with the publishing key of Radboud",
        "contains no image file", releases.SITE.fingerprint,
        "Audit: insufficient evidence",
        "without differential privacy", "<cspca>", f"--embedding {NAME}", EMBEDDING, published[:12], "95 % interval",
        "No independent auditor did", "research; augmenting training sets",
    ):  # fmt: skip
        assert words in " ".join(text.split()), words
    assert "anonymous" not in text.lower() and "phi-free" not in text.lower()
    page(house, f"/{NAME}/commit/{published}")
    answer = house.registry.get(f"/{NAME}/audit/{published}", headers={"Accept": "text/html"})
    assert answer.status == 200 and b"Insufficient evidence" in answer.body
    assert "'unsafe-inline'" not in str(answer.header("content-security-policy"))
    back = re.findall(r'<a href="([^"]*)">', answer.body.decode().partition("</nav>")[0])
    assert len(back) == 3 and all(house.registry.get(address).status == 200 for address in back)
    assert f"embhub evidence {NAME} --out intake" in text


def test_a_link_to_a_page_is_shown_with_its_title_and_description_by_other_programs(
    house: House, published: str
) -> None:
    """OpenGraph (ogp.me), as chat programs read it; of a private page they are told nothing."""
    text = house.registry.get(f"/{NAME}", headers={"Accept": "text/html"}).body.decode()
    found = re.findall(r'<meta property="og:(\w+)" content="([^"]*)">', text)
    said = {name: html.unescape(words) for name, words in found}
    assert set(said) == {"title", "description", "type"} and said["title"].startswith(f"{NAME} · ")
    assert said["description"] == f"Prostate {EVIL}", "a stranger's card ends no attribute"
    closed = house.registry.get("/radboud/nothing-like-it", headers={"Accept": "text/html"}).body.decode()
    assert "nothing-like-it" not in "".join(re.findall(r"<meta[^>]*>", closed))


def test_the_sheet_of_samples_is_shown_as_what_it_is(house: House, published: str) -> None:
    name, sheet = "radboud/page-of-samples", releases.make_sheet()
    release = releases.make_release(repository=name, sheet=sheet, name="page-of-samples")
    api = HfApi(endpoint=house.registry.url, token=house.alice)
    api.create_repo(name)
    commit = api.create_commit(
        name, [CommitOperationAdd(path, data) for path, data in release.files.items()], commit_message="Publish"
    ).oid
    answer, text = page(house, f"/{name}")
    address = f"/{name}/resolve/{commit}/samples.png"
    image = re.search(r'<img src="([^"]*)" width="66" height="32" alt="([^"]*)"', answer.body.decode())
    assert image is not None and image[1] == address and "none is of a patient" in image[2]
    assert "Generated, not real: 2 images" in text and "publisher’s word" in text
    assert "its sheet of samples and its audit report" in " ".join(text.split())
    shown = house.registry.get(address)
    assert shown.body == sheet and str(shown.header("content-type")) == "image/png"
    assert shown.header("x-content-type-options") == "nosniff"
    assert "sandbox" in str(shown.header("content-security-policy"))
    HfApi(endpoint=house.registry.url, token=house.registry.admin).update_repo_settings(name, gated="manual")
    closed, text = page(house, f"/{name}")
    assert b'<img src="/radboud' not in closed.body and "Generated, not real" not in text
    assert house.registry.get(address).status == 401
    assert b'<img src="/radboud' in answer.body and b'<img src="/radboud' not in page(house, f"/{NAME}")[0].body


def test_a_release_that_no_longer_verifies_says_so_on_top(house: House, published: str) -> None:
    house.registry.drop_key(releases.SITE)
    try:
        _, text = page(house, f"/{NAME}")
        assert "Does not verify: do not use it" in text
        assert "publishing key" not in text and "Prostate" not in text, "nothing that it claims is shown"
        assert house.registry.get(f"/{NAME}/audit/{published}").status == 404
    finally:
        house.registry.add_key(releases.SITE, namespace="radboud")
    assert "checked just now" in page(house, f"/{NAME}")[1]


def test_lists_and_search(house: House, published: str) -> None:
    _, text = page(house, "/?q=page-of")
    assert "page-of-one" in text
    assert "page-empty" not in page(house, "/")[1]
    assert "whether it was audited" in page(house, "/")[1], "audits are optional"
    assert "Nothing published in it yet" in page(house, "/radboud")[1]
    assert "Nothing was found" in page(house, "/?q=zzzzzz")[1]
    assert "Nothing was found" in page(house, "/?modality=XX")[1]
    page(house, "/?q=%3Cscript%3Ealert(1)%3C/script%3E%22")
    assert "Nothing published yet" in page(house, "/radboud/page-empty")[1]


def test_errors_are_pages_for_people_and_json_for_programs(house: House) -> None:
    _, text = page(house, "/radboud/absent", status=404)
    assert "not found" in text
    answer = house.registry.get("/radboud/absent")
    assert answer.status == 404 and answer.json()["rule"] == "repository"


def test_a_private_page_is_nobody_elses(house: House) -> None:
    api = HfApi(endpoint=house.registry.url, token=house.alice)
    api.create_repo("radboud/page-secret", private=True)
    assert house.registry.get("/radboud/page-secret").status == 404
    assert house.registry.get("/radboud/page-secret", token=house.lea).status == 404
    assert house.registry.get("/radboud/page-secret", token=house.alice).status == 200
    assert "page-secret" not in page(house, "/radboud")[1]


def test_static_files(house: House) -> None:
    for name, kind in (("style.css", "text/css"), ("copy.js", "text/javascript"), ("mark.svg", "image/svg+xml")):
        answer = house.registry.get(f"/static/{name}")
        assert answer.status == 200 and str(answer.header("content-type")).startswith(kind)
        assert answer.header("x-content-type-options") == "nosniff"


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(fore: str, back: str) -> float:
    light, dark = sorted((luminance(fore), luminance(back)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def schemes(css: str) -> list[dict[str, str]]:
    """The colours of each `:root` by name: light, dark, paper."""
    found = [
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", css, re.S)
    ]
    return [found[0], found[0] | found[1], found[0] | found[2]]


def test_text_and_controls_have_contrast(house: House) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1 for text; 1.4.11: 3 to 1 for the edges of controls and the mark of the focus."""
    css = house.registry.get("/static/style.css").body.decode()
    grounds = ("paper", "white", "good-bg", "bad-bg", "weak-bg")
    texts = [(fore, back) for fore in ("ink", "link") for back in grounds]
    texts += [("soft", back) for back in ("paper", "white", "chip")] + [("ink", "chip"), ("oncode", "code")]
    texts += [(name, f"{name}-bg") for name in ("good", "bad", "weak")] + [("good", "white"), ("weak", "white")]
    edges = [(fore, back) for fore in ("edge", "focus") for back in ("paper", "white")]
    for number, named in enumerate(schemes(css)):
        screen = [("onbar", "bar"), ("oncode", "key"), ("soft", "weak-bg")] if number < 2 else []
        for fore, back in texts + screen:
            assert contrast(named[fore], named[back]) >= 4.5, (number, fore, back)
        for fore, back in edges:
            assert contrast(named[fore], named[back]) >= 3, (number, fore, back)
    used = set(
        re.findall(r"(?:color|background|border[a-z-]*): [^;]*?(#[0-9a-fA-F]{3,6})", css.split("@media print")[0])
    )
    assert used <= {"#fff", "#ffd166", "#6d8894"}, "other colours have names, so that this test sees them"
