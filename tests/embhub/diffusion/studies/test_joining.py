"""Propose and join at a registry, without FLARE: when nothing is charged or signed, and what is charged once."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from embhub.artifact.header import BadTokenError
from embhub.client.member import studies
from embhub.client.trusted import roots, trust_changes
from embhub.diffusion.studies import joining, learner, seats
from embhub.errors import ConfigError, EmbhubError, PolicyError, PrivacyError, RegistryError, UsageError
from embhub.ledger import budget
from embhub.ledger import studies as ledger
from embhub.ledger.books import open_books
from embhub.ledger.budget import BudgetExceededError
from embhub.phantoms import write_dataset
from embhub.site import config
from embhub.site.pins import trust_store
from embhub.site.signing import keys as site_keys
from embhub.study.plan import Study
from embhub.trust import p256
from embhub_registry.operation.keyrings import keyring_changes
from tests.support import pipelines
from tests.support.servers import RunningRegistry
from tests.support.sites import Site, new_key
from tests.support.study_joins import Act, Proposed, join, run_here, seat, write_kit


def check_nothing_happened(study: Study, site: str) -> None:
    """No charge, no join."""
    assert ledger.find(study.digest) is None
    assert not seats.is_taken(study.digest)
    assert site not in studies.fetch(study.digest).joins


def without_patients(site: Site) -> dict[str, Any]:
    return {"images": str(site.folder / "images" / "images")}


def another_base(site: Site) -> dict[str, Any]:
    return {"base": str(pipelines.write(site.folder / "another", seed=1))}


def none_chosen(site: Site) -> dict[str, Any]:
    return {"where": "label=normal"}


def with_one_more(site: Site, split: str, side: int) -> dict[str, Any]:
    """Images of which one, a patient's only one, has this side; a side of 0 is a file that is no image."""
    folder = site.folder / f"one more, {split} {side}"
    _, *rows = write_dataset(folder, "prostate-cspca", images=4, patients=3, seed=7).read_text().splitlines()
    lines = ["path,patient_id,label,split", *(f"{row},train" for row in rows), f"images/last.png,P9,x,{split}"]
    (folder / "manifest.csv").write_text("\n".join(lines))
    if side:
        Image.new("RGB", (side, 4 * side), "grey").save(folder / "images" / "last.png")
    else:
        (folder / "images" / "last.png").write_bytes(b"\x89PNG\r\n\x1a\n, and no more")
    return {"images": str(folder / "manifest.csv")}


def with_a_small_image(site: Site) -> dict[str, Any]:
    return with_one_more(site, "train", pipelines.RESOLUTION // 3)


def with_a_small_image_kept_back(site: Site) -> dict[str, Any]:
    return with_one_more(site, "holdout", pipelines.RESOLUTION // 3)


def with_a_broken_file(site: Site) -> dict[str, Any]:
    return with_one_more(site, "holdout", 0)


UNFIT: dict[str, tuple[Callable[[Site], dict[str, Any]], type[EmbhubError], str]] = {
    "no patients": (without_patients, PrivacyError, "without patient ids"),
    "another base": (another_base, UsageError, "not the study's"),
    "no image": (none_chosen, UsageError, "no "),
    "small image": (with_a_small_image, UsageError, "1 images are under half"),
    "small image kept back": (with_a_small_image_kept_back, UsageError, "1 images are under half"),
    "broken file": (with_a_broken_file, UsageError, "is not an image"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_does_not_fit_is_neither_charged_nor_signed(
    proposed: Proposed, hospitals: dict[str, Site], base: Path, case: str
) -> None:
    fetched = proposed()
    change, refusal, words = UNFIT[case]
    with pytest.raises(refusal, match=words):
        join(fetched, seat(hospitals["umcu"], base, **change(hospitals["umcu"])))
    check_nothing_happened(fetched.plan, "umcu")


@pytest.mark.parametrize("resolution", [None, 3 * pipelines.RESOLUTION])
def test_a_resolution_that_no_study_of_this_base_has_is_not_joined(
    proposed: Proposed, hospitals: dict[str, Site], base: Path, resolution: int | None
) -> None:
    fetched = proposed()
    plan = fetched.plan.model_copy(update={"preprocessing": {"fit": "crop", "resolution": resolution}})
    sat = seat(hospitals["umcu"], base)
    found, _ = learner.find_site_base(plan, sat.base)
    with pytest.raises(UsageError, match="no resolution that its base allows"):
        joining._check_sizes(plan, found, seats.read_split(sat)[0])


def test_who_may_not_join_is_neither_charged_nor_signed(
    proposed: Proposed, hospitals: dict[str, Site], base: Path, act_as: Act
) -> None:
    fetched = proposed()
    with pytest.raises(ConfigError, match="role approve"):
        join(fetched, seat(hospitals["umcu"], base), key="default")
    with pytest.raises(ConfigError, match="no key"):
        join(fetched, seat(hospitals["umcu"], base), key="nobody")
    check_nothing_happened(fetched.plan, "umcu")
    act_as("nki")
    with pytest.raises(UsageError, match="nki is no site"):
        join(fetched, seat(hospitals["nki"], base))
    act_as("lumc")
    studies.withdraw(fetched.plan.digest, key="officer")
    act_as("umcu")
    with pytest.raises(UsageError, match="lumc withdrew"):
        join(studies.fetch(fetched.plan.digest), seat(hospitals["umcu"], base))
    check_nothing_happened(fetched.plan, "umcu")


def test_a_cap_or_a_person_that_says_no_is_heard(proposed: Proposed, hospitals: dict[str, Site], base: Path) -> None:
    fetched, asked = proposed(epsilon=30.0), []
    sat = seat(hospitals["umcu"], base)
    with pytest.raises(PrivacyError, match="nothing was trained or charged"):
        join(fetched, sat, confirm=lambda text: asked.append(text))
    assert len(asked) == 1 and asked[0].endswith("Join nevertheless?")
    budget.set_cap(1.0)
    try:
        with pytest.raises(BudgetExceededError):
            join(fetched, sat, confirm=lambda _text: True)
        assert not seats.place(fetched.plan.digest, "site").exists(), "nor is a key left that was never charged for"
    finally:
        budget.set_cap(None)
    code, said = run_here("study", "join", fetched.plan.digest, sat.images, "--base", base, "--key", "officer")
    assert code == 2 and "nothing was signed or charged" in said, said
    check_nothing_happened(fetched.plan, "umcu")


def test_a_join_charges_all_attempts_once_though_the_registry_falls_silent(
    proposed: Proposed, hospitals: dict[str, Site], base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched, sat = proposed(), seat(hospitals["umcu"], base)
    plan, digest = fetched.plan, fetched.plan.digest

    def silent(*_: Any, **__: Any) -> Any:
        raise RegistryError("the registry cannot be reached")

    with monkeypatch.context() as patch:
        patch.setattr(studies, "join", silent)
        with pytest.raises(RegistryError):
            join(fetched, sat)
    assert "umcu" not in studies.fetch(digest).joins
    key, run = seats.load_key(digest), ledger.find(digest)
    assert run is not None
    joined = join(fetched, sat)
    assert joined.keys["umcu"].public_numbers() == key.public.public_numbers()
    with open_books() as books:
        found = [one for one in books.account().runs.values() if one.study == digest]
    assert [one.run for one in found] == [run], "charged once"
    assert found[0].charged == plan.attempts == 2 and found[0].parameters == (plan.noise.against_sites,)
    assert plan.epsilon_against_sites > plan.epsilon
    with pytest.raises(UsageError, match="joined this study already"):
        join(joined, sat)


def test_of_two_joins_at_once_one_charges_and_learns_from_its_own_images(
    proposed: Proposed, hospitals: dict[str, Site], base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fetched, charge, take = proposed(), ledger.charge, seats.take_seat
    digest, about_to_sit, refused = fetched.plan.digest, threading.Event(), list[EmbhubError]()
    others = write_dataset(tmp_path / "others", "prostate-cspca", images=6, patients=4, seed=9)

    def second() -> None:
        try:
            join(fetched, seat(hospitals["umcu"], base, images=str(others)))
        except EmbhubError as error:
            refused.append(error)

    thread = threading.Thread(target=second)

    def charge_late(*given: Any, **more: Any) -> str:
        monkeypatch.setattr(ledger, "charge", charge)
        thread.start()
        assert about_to_sit.wait(60)
        thread.join(1.0)
        return charge(*given, **more)

    def tell(*given: Any, **more: Any) -> None:
        if threading.current_thread() is thread:
            about_to_sit.set()

    monkeypatch.setattr(ledger, "tell", tell)
    monkeypatch.setattr(ledger, "charge", charge_late)
    sat = seat(hospitals["umcu"], base)
    keys = list[Any]()
    monkeypatch.setattr(seats, "take_seat", lambda *given: keys.append(take(*given)))
    joined = join(fetched, sat)
    thread.join(60)
    assert len(refused) == 1 and len(keys) == 1
    assert joined.keys["umcu"].public_numbers() == seats.load_key(digest).public.public_numbers()
    kept = seats.Seat(**json.loads((seats.place(digest, "site") / "seat.json").read_text()))
    assert kept.images == sat.images
    _, members, _ = seats.read_split(kept)
    ledger.check_members(digest, members.names(), pictures=members.pictures())


def test_who_was_charged_and_lost_the_folder_does_not_join_again(
    proposed: Proposed, hospitals: dict[str, Site], base: Path
) -> None:
    fetched, sat = proposed(), seat(hospitals["umcu"], base)
    join(fetched, sat)
    shutil.rmtree(seats.place(fetched.plan.digest, "site"))
    again = replace(fetched, joins={})  # as a registry that forgot shows it
    for _ in range(2):
        with pytest.raises(ConfigError, match="its folder is not here"):
            join(again, sat)
    assert not seats.place(fetched.plan.digest, "site").exists()


@pytest.mark.parametrize("step", ["seats.take_seat", "ledger.charge"])
def test_a_full_disk_costs_no_budget(
    proposed: Proposed, hospitals: dict[str, Site], base: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    fetched, sat = proposed(), seat(hospitals["umcu"], base)

    def full(*_: Any, **__: Any) -> Any:
        raise ConfigError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(f"embhub.diffusion.studies.joining.{step}", full)
        with pytest.raises(ConfigError, match="no room"):
            join(fetched, sat)
    assert ledger.find(fetched.plan.digest) is None and not seats.is_taken(fetched.plan.digest)
    join(fetched, sat)
    assert seats.is_taken(fetched.plan.digest)


def test_a_key_that_nobody_here_confirmed_plays_no_site(
    proposed: Proposed, hospitals: dict[str, Site], registry: RunningRegistry, base: Path, act_as: Act, tmp_path: Path
) -> None:
    """Whoever holds the registry's root key could vouch for keys of its own as those of all other sites."""
    fetched = proposed()
    digest = fetched.plan.digest
    join(fetched, seat(hospitals["umcu"], base))
    act_as("lumc")
    new_key(registry, namespace="lumc", name="newcomer", role="approve")
    key = join(studies.fetch(digest), seat(hospitals["lumc"], base), key="newcomer").joins["lumc"].fingerprint
    act_as("radboud")
    with pytest.raises(PolicyError, match="nobody at this site confirmed") as caught:
        join(studies.fetch(digest), seat(hospitals["radboud"], base))
    assert f"{key} of lumc" in caught.value.message and "umcu" not in caught.value.message
    check_nothing_happened(fetched.plan, "radboud")
    code, said = run_here("study", "status", digest)
    assert code == 0 and f"lumc by {key}" in said, "what an officer reads to the other on the telephone"
    act_as("umcu")
    write_kit(tmp_path / "umcu")
    with pytest.raises(PolicyError, match="of lumc"):
        joining.take_part(digest, tmp_path / "umcu", registry=None)
    assert not (seats.place(digest, "site") / "keys.json").exists()
    act_as("radboud")
    roots.refresh_roots(agree=lambda *_: True)
    assert join(studies.fetch(digest), seat(hospitals["radboud"], base)).missing == ()


def publishing_key(registry: RunningRegistry, namespace: str) -> str:
    """A new key of the site that acts, which may publish; its fingerprint."""
    new_key(registry, namespace=namespace, name="spare")
    return p256.fingerprint(p256.read_public(site_keys.public_pem("spare")))


def list_as_officer(registry: RunningRegistry, fingerprint: str, *, namespace: str) -> None:
    """What whoever holds the root key can sign: a key that is listed already, as that of an officer of `namespace`."""
    with registry.opened() as opened, opened.database.writing() as db:
        keyring = opened.trust().keyring
        listed = [key for member in keyring.members for key in member.keys if key.fingerprint == fingerprint]
        officer = listed[0].model_copy(update={"role": "approve"})
        members = []
        for member in keyring.members:
            own = tuple(key for key in member.keys if member.namespace == namespace or key not in listed)
            keys = (*own, officer) if member.namespace == namespace else own
            members.append(member.model_copy(update={"keys": keys}))
        keyring_changes.store(opened, db, keyring.model_copy(update={"members": tuple(members)}))


def test_a_key_that_was_confirmed_for_something_else_plays_no_site(
    proposed: Proposed, hospitals: dict[str, Site], registry: RunningRegistry, base: Path, act_as: Act, tmp_path: Path
) -> None:
    act_as("lumc")
    publishing = publishing_key(registry, "lumc")
    for site in ("radboud", "umcu"):
        act_as(site)
        roots.refresh_roots(agree=lambda *_: True)
    fetched = proposed()
    digest = fetched.plan.digest
    join(fetched, seat(hospitals["umcu"], base))
    act_as("lumc")
    list_as_officer(registry, publishing, namespace="lumc")
    joined = join(studies.fetch(digest), seat(hospitals["lumc"], base), key="spare")
    assert joined.joins["lumc"].fingerprint == publishing
    act_as("radboud")
    with pytest.raises(PolicyError, match=re.escape(f"{publishing} of lumc")):
        join(studies.fetch(digest), seat(hospitals["radboud"], base))
    check_nothing_happened(fetched.plan, "radboud")
    act_as("umcu")
    write_kit(tmp_path / "umcu")
    with pytest.raises(PolicyError, match="of lumc"):
        joining.take_part(digest, tmp_path / "umcu", registry=None)
    act_as("radboud")
    roots.refresh_roots(agree=lambda *_: True)
    assert join(studies.fetch(digest), seat(hospitals["radboud"], base)).missing == ()


def test_a_confirmed_key_that_moves_to_another_namespace_is_agreed_to_in_its_own_alone(
    hospitals: dict[str, Site], registry: RunningRegistry, act_as: Act
) -> None:
    act_as("nki")
    moved = publishing_key(registry, "nki")
    act_as("radboud")
    roots.refresh_roots(agree=lambda *_: True)
    name = trust_store.load(registry.url).keyring.registry
    assert trust_changes.agreed_roles(name, "nki", moved) == {"publish"}
    list_as_officer(registry, moved, namespace="lumc")
    roots.refresh_roots(agree=lambda *_: False)
    known = trust_store.load(registry.url).lookup(moved)
    assert known is not None and known.namespace == "lumc", "the new keyring counts"
    assert trust_changes.agreed_roles(name, "lumc", moved) == frozenset(), "and nobody agreed to that"


def test_who_withdraws_stops_here_before_the_registry_hears_of_it(
    proposed: Proposed, hospitals: dict[str, Site], base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fetched = proposed()
    digest = fetched.plan.digest
    join(fetched, seat(hospitals["umcu"], base))
    monkeypatch.setenv("EMBHUB_REGISTRY", "http://127.0.0.1:9")
    code, said = run_here("study", "join", digest, "--withdraw", "--key", "officer")
    assert code == 5 and "cannot be reached" in said, said
    found = seats.standing(digest, "site")
    assert found is not None and found.withdrawn
    hospitals["umcu"].enter(monkeypatch)
    code, said = run_here("study", "join", digest, "--withdraw", "--key", "officer")
    assert code == 0, said
    write_kit(tmp_path / "coordinator")
    with pytest.raises(UsageError, match="umcu withdrew"):
        joining.take_part(digest, tmp_path / "coordinator", registry=None)
    assert ledger.find(digest) is not None, "what was charged stays spent"
    hospitals["radboud"].enter(monkeypatch)
    with pytest.raises(UsageError, match="umcu withdrew"):
        joining.finish(digest, tmp_path / "x.safetensors", tmp_path, registry=None)


def test_who_has_no_part_or_no_kit_starts_nothing(
    proposed: Proposed, hospitals: dict[str, Site], base: Path, tmp_path: Path
) -> None:
    fetched = proposed()
    digest = fetched.plan.digest
    for part in (
        lambda: joining.take_part(digest, tmp_path, registry=None),
        lambda: joining.finish(digest, tmp_path / "x.safetensors", tmp_path, registry=None),
    ):
        with pytest.raises(ConfigError, match="no part in the study"):
            part()
    assert not seats.place(digest, "site").parent.exists()
    join(fetched, seat(hospitals["umcu"], base))
    with pytest.raises(ConfigError, match="no kit"):
        joining.take_part(digest, tmp_path, registry=None)


def test_words_that_no_file_may_have_are_neither_proposed_nor_joined(
    proposed: Proposed, hospitals: dict[str, Site], base: Path
) -> None:
    wrong = [
        ({"caption": "prostate mri"}, UsageError), ({"caption": "{} and {}"}, UsageError),
        ({"caption": "born 1960-02-03, {}"}, PrivacyError), ({"token": "a"}, BadTokenError),
    ]  # fmt: skip
    plan = proposed().plan
    for changes, refusal in wrong:
        with pytest.raises(refusal):
            proposed(**changes)
        made = plan.model_copy(update=changes)
        with pytest.raises(refusal):
            joining._check(made, seat(hospitals["umcu"], base), seats.read_split(seat(hospitals["umcu"], base))[1])


def test_what_a_registry_refuses_leaves_no_chair(proposed: Proposed, act_as: Act) -> None:
    proposed()
    with pytest.raises(UsageError, match="no study has these numbers"):
        proposed(dropouts=2)
    with pytest.raises(ConfigError, match="role publish in nki"):
        proposed(repository="nki/not-its-own")
    act_as("radboud")
    chairs = list((config.paths().state / "studies").glob("*/coordinator"))
    proposals = {one["study"] for one in studies.listing()}
    assert chairs and {chair.parent.name for chair in chairs} <= proposals
