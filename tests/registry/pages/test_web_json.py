"""Pages as data: their schema, the same facts as the page, and nothing of what is private."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
import yaml
from huggingface_hub import HfApi

from embhub_registry.operation import administration
from embhub_registry.pages.lists import list_facts
from embhub_registry.pages.lists.bases_page import BasesPage
from embhub_registry.pages.lists.findings_page import FindingsPage
from embhub_registry.pages.release import page_facts
from embhub_registry.pages.release.page_facts import (
    AuditPage,
    ComparisonPage,
    EmbeddingPage,
    Facts,
    ListPage,
    NamespacePage,
)
from embhub_registry.repositories import yanking
from tests.support import ports, releases, showroom
from tests.support.showroom import SECRET, SECRET_WORDS, Showroom

CSPCA = "radboud/prostate-cspca"
# codes, addresses and rows, which a page says in other words
UNSAID = {
    "schema", "card", "use", "revision", "revisions", "facets", "items", "versions", "sort", "sorts", "related",
    "history", "same_base", "sources", "ports",
}  # fmt: skip
DOCS = Path(__file__).parents[3] / "docs/reference/registry-pages.md"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Showroom]:
    furnished = showroom.furnish(tmp_path_factory.mktemp("showroom"))
    yield furnished
    furnished.registry.stop()


def ask(room: Showroom, path: str, *, token: str | None = None) -> Any:
    answer = room.registry.get(path, token=token, headers={"Accept": "application/json"})
    assert answer.status == 200 and str(answer.header("content-type")).startswith("application/json")
    return answer.json()


def read(room: Showroom, path: str, *, token: str | None = None) -> str:
    answer = room.registry.get(path, token=token, headers={"Accept": "text/html"})
    assert answer.status == 200 and str(answer.header("content-type")).startswith("text/html")
    text = re.sub(r'<img [^>]*alt="([^"]*)"[^>]*>', r" \1 ", answer.body.decode())
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from strings(item)
        case list():
            for item in value:
                yield from strings(item)


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/", ListPage),
        ("/?q=mri&modality=MR&audit=leak-detected", ListPage),
        ("/findings", FindingsPage),
        ("/bases", BasesPage),
        ("/radboud", NamespacePage),
        (f"/{CSPCA}", EmbeddingPage),
        ("/lumc/knee-effusion", EmbeddingPage),
        ("/lumc/xray-pneumonia", EmbeddingPage),
        ("/radboud/planned", EmbeddingPage),
        (f"/compare?with={CSPCA}&with=lumc/knee-effusion", ComparisonPage),
        ("/compare", ComparisonPage),
    ],
)
def test_a_page_as_json_follows_its_schema_and_says_what_the_page_says(
    room: Showroom, path: str, model: type[Facts]
) -> None:
    facts = ask(room, path)
    parsed = model.model_validate_json(json.dumps(facts))
    assert json.loads(parsed.model_dump_json(by_alias=True)) == facts and facts["schema"].startswith("embhub.page.")
    assert room.registry.get(path + ("&" if "?" in path else "?") + "format=json").json()["schema"] == facts["schema"]
    shown = read(room, path)
    codes = {"verified", "empty", "ok", "note", "warning", "canary", facts.get("verdict"), facts.get("confirmation")}
    for name, value in facts.items():
        if name not in UNSAID:
            for words in (" ".join(text.split()) for text in strings(value)):
                said = words in shown or words[:10] in shown or words.startswith(("/", "https:")) or words in codes
                assert said or name in {"chosen", "privacy"}, (name, words)


def test_a_private_release_whose_code_test_passed_is_found_and_looks_like_what_it_is(room: Showroom) -> None:
    """Made-up canaries may be told apart as far as the claim allows: neither amber nor a leak, and its own facet."""
    [found] = ask(room, "/?audit=bounded-by-claim")["items"]
    assert found["id"] == "lumc/knee-effusion" and found["release"]["audit"] == "bounded-by-claim"
    facts = ask(room, "/lumc/knee-effusion")
    audit = facts["audit"]
    assert (facts["verdict"], audit["verdict"], audit["suite"]) == ("bounded-by-claim", "bounded-by-claim", "mechanism")
    assert audit["shown_epsilon"] <= audit["claimed"] == facts["privacy"]["epsilon"]
    assert audit["bound"].startswith("whoever would have named a given patient with probability 1 %")
    rows = {row["name"]: row["value"] for section in facts["sections"] for row in section["rows"]}
    assert " images of at least " in rows["Trained on"], "beside a claim the card states a lower bound"
    page = room.registry.get("/lumc/knee-effusion").body.decode()
    section = page[page.index('aria-labelledby="audit"') :]
    section = section[: section.index("</section>")]
    front, _, folded = section.partition("<details>")
    assert 'class="box neutral"' in page and "bounded by the claim" in front and "3.66 claimed" in front
    assert html.escape(audit["bound"])[:60] in front
    assert "AUC" not in front and "True-positive" not in front and "#b3203a" not in front, "no red gauge"
    assert "AUC of made-up data" in folded and "True-positive rate" in folded
    text = room.registry.get("/lumc/knee-effusion/audit/" + facts["revision"]).body.decode()
    assert "Bounded by the claim" in text and text.index("3.66 claimed") < text.index("<details>")
    assert "picks the member" in text[text.index("<details>") :]
    assert ask(room, f"/{CSPCA}")["audit"]["claimed"] is None


def test_a_list(room: Showroom) -> None:
    facts = ask(room, "/")
    assert facts["total"] == 4 and facts["items"][0]["id"] == CSPCA and facts["next"] is None
    by_name = {facet["name"]: {v["value"]: v["count"] for v in facet["values"]} for facet in facts["facets"]}
    assert by_name["modality"] == {"MR": 3, "DX": 1} and by_name["privacy"] == {"none": 3, "claimed": 1}
    assert by_name["audit"] == {"insufficient-evidence": 1, "bounded-by-claim": 1, "leak-detected": 1, "not-audited": 1}
    [leak] = ask(room, "/?audit=leak-detected")["items"]
    assert leak["id"] == "radboud/brain-wmh" and leak["release"]["audit"] == "leak-detected"
    chosen = ask(room, "/?modality=MR&finding=effusion")
    assert [item["name"] for item in chosen["items"]] == ["knee-effusion"]
    assert chosen["items"][0]["release"]["claim"].startswith(
        "claimed by the publisher: epsilon 3.6585 with delta 1e-05 for each patient"
    )
    off = next(value["address"] for value in chosen["chosen"] if value["value"] == "effusion")
    assert ask(room, off)["total"] == 3


def test_pages_lead_to_one_another_without_javascript(room: Showroom, monkeypatch: pytest.MonkeyPatch) -> None:
    api = HfApi(endpoint=room.registry.url, token=room.lea)
    for number in range(21):
        api.create_repo(f"lumc/planned-{number}")
    first = ask(room, "/lumc")
    second = ask(room, first["next"])
    names = [item["name"] for item in first["items"] + second["items"]]
    assert len(names) == len(set(names)) == 23 and second["next"] is None
    for number in range(21):
        api.delete_repo(f"lumc/planned-{number}")
    for cursor in ("x", "WyJ4IiwgMV0="):
        assert room.registry.get(f"/?after={cursor}").status == 400


def test_an_embedding(room: Showroom) -> None:
    facts = ask(room, f"/{CSPCA}")
    assert facts["state"] == "verified" and facts["version"] == "1.1.0" and facts["newest"]
    assert [version["version"] for version in facts["versions"]] == ["1.1.0", "1.0.0"]
    assert facts["provenance"]["signer"]["fingerprint"] == releases.SITE.fingerprint
    assert facts["privacy"]["claim"] == "none" and facts["audit"]["interval"][0] < facts["audit"]["auc"]
    for file in facts["files"]:
        assert room.registry.get(file["address"]).status == 200
    older = ask(room, facts["versions"][1]["address"])
    assert older["version"] == "1.0.0" and not older["newest"]
    claimed = ask(room, "/lumc/knee-effusion")["privacy"]
    assert claimed["epsilon"] == claimed["claim"]["epsilon"] and claimed["unit"] == "patient"
    epsilon = claimed["claim"]["composition"]["epsilon"]
    together = f"{epsilon:g} with all 2 of this site's private trainings, as of 2026-11-20"
    assert claimed["together"] == together and claimed["weak"]
    assert facts["privacy"]["together"] is None
    front = html.unescape(room.registry.get("/lumc/knee-effusion").body.decode())
    assert front.count(together) == 2, "where epsilon stands, at the top and in its own section"
    compared = ask(room, f"/compare?with={CSPCA}&with=lumc/knee-effusion")
    assert any(together in row["values"][1] for row in compared["rows"] if row["name"] == "Guarantee")
    assert together in str(ask(room, "/lumc"))
    assert any("had she not taken part, names her with at most" in words for words in claimed["sentences"])


def test_an_audit(room: Showroom) -> None:
    address = ask(room, f"/{CSPCA}")["audit"]["report"]
    facts = AuditPage.model_validate_json(json.dumps(ask(room, address)))
    assert room.registry.get(facts.document).json()["verdict"] == facts.audit.verdict


def test_a_comparison(room: Showroom) -> None:
    facts = ask(room, f"/compare?with={CSPCA}&with=lumc/xray-pneumonia")
    rows = {(row["section"], row["name"]): row for row in facts["rows"]}
    assert rows["Generated images", "Modality"]["values"] == ["magnetic resonance (MR)", "digital radiography (DX)"]
    assert not rows["Audit", "Verdict"]["same"] and rows["Privacy", "Guarantee"]["same"]
    assert facts["same"] + facts["different"] == len(facts["rows"])
    assert room.registry.get(f"/compare?with={CSPCA}&with=lumc/nothing").status == 404
    assert room.registry.get("/compare?with=a&with=b&with=c").status == 400


def test_a_namespace(room: Showroom) -> None:
    facts = ask(room, "/radboud")
    assert facts["may"] == ["publish embeddings under radboud/"]  # the role withdraw is reserved and permits nothing
    assert {key["fingerprint"] for key in facts["keys"]} == {releases.SITE.fingerprint, releases.WITHDRAWER.fingerprint}
    assert ask(room, "/nki")["may"] == ["countersign audits of any embedding here"] and not ask(room, "/nki")["items"]


def test_nothing_of_a_private_repository_shows_to_others(room: Showroom) -> None:
    paths = [
        "/", "/?q=unheard", "/?q=nobodys", "/?q=" + quote("unheard-of lesion"), "/?finding=unheard-of+lesion",
        "/?modality=SM", "/?base=secret-base", "/findings", "/radboud", "/lumc",
        f"/compare?with={CSPCA}&with=lumc/knee-effusion",
    ]  # fmt: skip
    for token in (None, room.lea):
        for path in paths:
            for accept in ("text/html", "application/json"):
                answer = room.registry.get(path, token=token, headers={"Accept": accept})
                told = html.unescape(answer.body.decode()).lower()
                for words in SECRET_WORDS:
                    asked = words in path.replace("+", " ").replace("%20", " ")
                    assert asked or words not in told, (path, words)
                assert answer.status == 200
        for path in (f"/{SECRET}", f"/compare?with={CSPCA}&with={SECRET}"):
            answer = room.registry.get(path, token=token)
            assert answer.status == 404 and answer.json()["rule"] == "repository"
        assert ask(room, "/?modality=SM", token=token)["total"] == 0
        assert ask(room, "/", token=token)["total"] == 4
        assert ask(room, "/?finding=unheard-of+lesion", token=token)["facets"] == []
    assert ask(room, "/", token=room.alice)["total"] == 5
    assert ask(room, f"/{SECRET}", token=room.alice)["private"]


def test_no_page_names_an_account(room: Showroom) -> None:
    for path in ("/", "/radboud", f"/{CSPCA}", "/lumc/knee-effusion"):
        for accept in ("text/html", "application/json"):
            body = room.registry.get(path, headers={"Accept": accept}).body.decode()
            assert not re.search(r"\b(alice|lea|admin)\b", body), path


def test_a_release_that_was_taken_back_says_why(room: Showroom) -> None:
    with room.registry.opened() as registry:
        yanking.yank(registry, None, "radboud", "brain-wmh", reason="leaks who was scanned")
    try:
        facts = ask(room, "/radboud/brain-wmh")
        assert facts["yanked"]["reason"] == "leaks who was scanned" and facts["versions"][0]["yanked"]
        text = read(room, "/radboud/brain-wmh")
        assert "Yanked: do not use" in text and "Leaks who was scanned." in text
        assert ask(room, "/")["total"] == 3 and ask(room, "/?q=hyperintensity")["items"] == []
        assert "brain-wmh" not in read(room, "/radboud"), "lists hide it, but from the registry's admin"
        shown = ask(room, "/radboud", token=room.registry.admin)["items"]
        assert [item["name"] for item in shown if item["yanked"]] == ["brain-wmh"]
    finally:
        with room.registry.opened() as registry:
            yanking.unyank(registry, None, "radboud", "brain-wmh")
    assert ask(room, "/")["total"] == 4


def test_a_gate_keeps_the_audits_figures_and_the_files(room: Showroom) -> None:
    api = HfApi(endpoint=room.registry.url, token=room.registry.admin)
    api.update_repo_settings("radboud/brain-wmh", gated="manual")
    try:
        facts = ask(room, "/radboud/brain-wmh")
        assert facts["audit"] is None and facts["verdict"] == "leak-detected" and not facts["opened"] and facts["card"]
        checks = facts["provenance"]["findings"]
        assert len(checks) > 5 and not [one for one in checks if "AUC" in one["text"] or "p = " in one["text"]]
        text = read(room, "/radboud/brain-wmh")
        assert "is granted by" in text and "ROC" not in text and "AUC" not in text
        assert ask(room, "/radboud/brain-wmh", token=room.alice)["audit"]["verdict"] == "leak-detected"
    finally:
        api.update_repo_settings("radboud/brain-wmh", gated=False)


def test_the_history_has_versions_audits_and_keys(room: Showroom) -> None:
    facts = ask(room, f"/{CSPCA}")
    kinds = [event["kind"] for event in facts["history"]]
    assert kinds.count("version") == 2 and "audit" in kinds and kinds.count("key") == 2
    dates = [event["date"] for event in facts["history"]]
    assert dates == sorted(dates, reverse=True)
    newest, first = (event for event in facts["history"] if event["kind"] == "version")
    assert newest["text"].startswith("Version 1.1.0") and newest["before"] == first["revision"] and not first["before"]
    assert "Version 1.1.0: Publish 1.1.0" in read(room, f"/{CSPCA}")
    compared = ask(room, f"/compare?with={CSPCA}@{first['revision']}&with={CSPCA}@{newest['revision']}")
    version = next(row for row in compared["rows"] if row["name"] == "Version")
    assert version["values"] == ["1.0.0", "1.1.0"] and compared["revisions"] == [first["revision"], newest["revision"]]
    assert ask(room, f"/compare?with={CSPCA}@1.0.0&with={CSPCA}")["revisions"] == compared["revisions"]
    assert room.registry.get(f"/compare?with={CSPCA}@9.9.9&with={CSPCA}").status == 404
    assert room.registry.get(f"/compare?with={SECRET}@main&with={CSPCA}").status == 404


def test_lists_are_sorted_filtered_by_publisher_and_licence_and_show_sheets(room: Showroom) -> None:
    names = [item["id"] for item in ask(room, "/")["items"]]
    created = [item["id"] for item in ask(room, "/?sort=created")["items"]]
    assert names[0] == CSPCA == created[-1] and sorted(names) == sorted(created)
    orders = {order["value"]: order for order in ask(room, "/?sort=created&modality=MR")["sorts"]}
    assert orders["created"]["chosen"] and orders["downloads"]["address"] == "/?modality=MR&sort=downloads"
    assert ask(room, "/?sort=nonsense")["sort"] == "modified"
    for sort in ("epsilon", "epsilon-largest"):
        listed = [item["release"]["privacy"] != "none" for item in ask(room, f"/?sort={sort}")["items"]]
        assert listed == sorted(listed, reverse=True) and True in listed and False in listed
        models = [row["id"] for row in room.registry.get(f"/api/models?sort={sort}").json()]
        shown = [item["id"] for item in ask(room, f"/?sort={sort}")["items"]]
        assert [name for name in models if name in shown] == shown[: len(models)]
    facets = {facet["name"]: facet["values"] for facet in ask(room, "/?modality=MR")["facets"]}
    assert {(v["value"], v["count"]) for v in facets["namespace"]} == {("radboud", 2), ("lumc", 1)}
    assert {v["label"] for v in facets["namespace"]} == {"Radboud", "Lumc"}
    assert [item["id"] for item in ask(room, "/?namespace=lumc&licence=CC-BY-4.0&modality=DX")["items"]] == [
        "lumc/xray-pneumonia"
    ]
    sheets = {item["id"]: item["sheet"] for item in ask(room, "/")["items"]}
    assert sheets["radboud/brain-wmh"] is None
    assert room.registry.get(sheets[CSPCA]).header("content-type") == "image/png"


def test_a_sheet_behind_a_gate_is_not_shown_in_lists(room: Showroom) -> None:
    api = HfApi(endpoint=room.registry.url, token=room.registry.admin)
    api.update_repo_settings(CSPCA, gated="manual")
    try:
        assert next(item for item in ask(room, "/")["items"] if item["id"] == CSPCA)["sheet"] is None
    finally:
        api.update_repo_settings(CSPCA, gated=False)


def test_a_version_is_cited_by_its_commit_and_digest(room: Showroom) -> None:
    facts = ask(room, f"/{CSPCA}")
    cited = facts["citation"]
    digest = next(file["sha256"] for file in facts["files"] if file["path"].endswith(".safetensors"))
    assert digest in cited["bibtex"] and f"/{CSPCA}/commit/{facts['revision']}" in cited["bibtex"]
    assert cited["bibtex"].startswith("@misc{radboud-prostate-cspca-1.1.0,")
    cff = yaml.safe_load(cited["cff"])
    assert cff["cff-version"] == "1.2.0" and cff["identifiers"][0]["value"] == f"sha256:{digest}"
    assert ask(room, "/radboud/planned")["citation"] is None


def test_others_of_the_same_finding_are_shown_and_no_private_one(room: Showroom) -> None:
    twin, hidden = "lumc/prostate-cspca-too", "lumc/prostate-cspca-hidden"
    for seed, name in enumerate((twin, hidden), 20):
        made = showroom.make_release(
            name, seed=seed, key=releases.OTHER_SITE, audited=False, name=name.partition("/")[2], publisher="Lumc"
        )
        room.push(name, made, private=name == hidden)
    try:
        for token in (None, room.lea, room.alice):
            assert [item["id"] for item in ask(room, f"/{CSPCA}", token=token)["related"]] == [twin]
        assert ask(room, "/lumc/knee-effusion")["related"] == []
    finally:
        for name in (twin, hidden):
            HfApi(endpoint=room.registry.url, token=room.registry.admin).delete_repo(name)


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


def test_others_for_the_same_base_are_shown_but_those_of_the_same_finding_once(room: Showroom) -> None:
    facts = ask(room, f"/{CSPCA}")
    assert set(ids(facts["same_base"])) == {"lumc/knee-effusion", "radboud/brain-wmh", "lumc/xray-pneumonia"}
    twin = "lumc/prostate-cspca-twin"
    made = showroom.make_release(
        twin, seed=25, key=releases.OTHER_SITE, audited=False, name="prostate-cspca-twin", publisher="Lumc"
    )
    room.push(twin, made)
    try:
        facts = ask(room, f"/{CSPCA}")
        assert ids(facts["related"]) == [twin] and twin not in ids(facts["same_base"])
        assert SECRET not in ids(ask(room, f"/{CSPCA}", token=room.alice)["same_base"])
    finally:
        HfApi(endpoint=room.registry.url, token=room.registry.admin).delete_repo(twin)


def test_a_port_and_its_source_lead_to_each_other_where_everybody_may_see_both(room: Showroom) -> None:
    """The header of the embedding says what it came from; a description with the words of the tag makes no port."""
    admin = HfApi(endpoint=room.registry.url, token=room.registry.admin)
    origin, port, hidden, liar = "radboud/origin", "lumc/ported", "lumc/ported-hidden", "lumc/liar"
    source = releases.make_release(repository=origin, name="origin", artifact=releases.make_embedding(seed=90))
    digest = source.embedding.digest
    room.push(origin, source)
    for name in (port, hidden):
        made = ports.make_ported_release(source, key=releases.OTHER_SITE, repository=name, name=name[5:])
        room.push(name, made, private=name == hidden)
    room.push(
        liar,
        releases.make_release(
            repository=liar, key=releases.OTHER_SITE, name="liar", artifact=releases.make_embedding(seed=91),
            description=f"derived-from:{digest}",
        ),
    )  # fmt: skip
    try:
        for token in (None, room.lea):
            assert ids(ask(room, f"/{origin}", token=token)["ports"]) == [port]
            assert ids(ask(room, f"/{port}", token=token)["sources"]) == [origin]
        assert ask(room, f"/{port}")["ports"] == ask(room, f"/{origin}")["sources"] == []
        page = room.registry.get(f"/{port}", headers={"Accept": "text/html"}).body.decode()
        assert f'<a href="/{origin}">' in page and "Ported from" in page
        admin.update_repo_settings(origin, private=True)
        for token in (None, room.alice):
            assert ask(room, f"/{port}", token=token)["sources"] == []
    finally:
        for name in (origin, port, hidden, liar):
            admin.delete_repo(name)


def test_the_feed_follows_the_filters_and_shows_what_everybody_may_see(room: Showroom) -> None:
    for token in (None, room.alice):
        answer = room.registry.get("/feed.atom?modality=MR&after=x", token=token)
        assert answer.status == 200 and str(answer.header("content-type")).startswith("application/atom+xml")
        feed = ElementTree.fromstring(answer.body)
        atom = "{http://www.w3.org/2005/Atom}"
        titles = [str(entry.findtext(f"{atom}title")) for entry in feed.findall(f"{atom}entry")]
        assert titles[0] == f"{CSPCA} 1.1.0" and len(titles) == 3
        links = [link.get("href") for link in feed.iter(f"{atom}link")]
        assert f"{room.registry.url}/feed.atom?modality=MR" in links
        assert not any(word in answer.body.decode() for word in SECRET_WORDS)
    assert 'type="application/atom+xml"' in room.registry.get("/", headers={"Accept": "text/html"}).body.decode()


def test_a_key_that_went_out_of_use_is_said_on_the_front(room: Showroom) -> None:
    other = releases.make_key("radboud's second")
    room.registry.add_key(other, namespace="radboud")
    name = "radboud/second-key"
    room.push(name, showroom.make_release(name, seed=9, key=other, audited=False, name="second-key"))
    with room.registry.opened() as registry:
        administration.revoke_key(registry, other.fingerprint, reason="superseded")
    try:
        signer = ask(room, f"/{name}")["provenance"]["signer"]
        assert signer["fingerprint"] == other.fingerprint and signer["revoked"].startswith("superseded on ")
        assert "Signed, with a key now out of use" in read(room, f"/{name}")
        keys = {key["fingerprint"]: key["revoked"] for key in ask(room, "/radboud")["keys"]}
        assert keys[other.fingerprint] and not keys[releases.SITE.fingerprint]
        assert "revoked : superseded on" in read(room, "/radboud")
    finally:
        HfApi(endpoint=room.registry.url, token=room.registry.admin).delete_repo(name)


def test_authors_who_agreed_are_cited_with_their_orcid(room: Showroom) -> None:
    """From a card that names them, past the search for personal data, to the page and its citation."""
    orcid, ror, doi = "https://orcid.org/0000-0002-1825-0097", "https://ror.org/05wg1m734", "10.5281/zenodo.12345678"
    named: dict[str, Any] = {"authors": ["Jane Smith"], "orcid": {"Jane Smith": orcid}, "ror": ror, "doi": doi}
    room.push("radboud/cited", showroom.make_release("radboud/cited", seed=11, audited=False, name="cited", **named))
    found = ask(room, "/radboud/cited")
    assert all(text in found["citation"]["cff"] for text in (orcid, ror, doi))
    assert orcid in found["citation"]["bibtex"] and doi in found["citation"]["bibtex"]
    page = room.registry.get("/radboud/cited", headers={"Accept": "text/html"}).body.decode()
    assert all(f'href="{link}"' in page for link in (orcid, ror, f"https://doi.org/{doi}"))


def test_what_does_not_verify_is_not_quoted_as_json_either(room: Showroom) -> None:
    room.registry.drop_key(releases.OTHER_SITE)
    try:
        facts = ask(room, "/lumc/knee-effusion")
        assert facts["state"] == "refused" and facts["problem"]["remedy"]
        assert not any(
            facts[name] for name in ("card", "sections", "description", "audit", "privacy", "use", "sentence")
        )
        compared = ask(room, f"/compare?with={CSPCA}&with=lumc/knee-effusion")
        assert "does not verify: do not use it" in compared["rows"][0]["values"]
    finally:
        room.registry.add_key(releases.OTHER_SITE, namespace="lumc")


def test_the_reference_names_every_field() -> None:
    text = DOCS.read_text()
    for model in {**vars(list_facts), **vars(page_facts)}.values():
        if isinstance(model, type) and issubclass(model, Facts) and model is not Facts:
            for name, field in model.model_fields.items():
                assert f"`{field.alias or name}`" in text, f"{model.__name__}.{name} is not in {DOCS.name}"
