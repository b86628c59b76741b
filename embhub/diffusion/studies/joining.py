"""What the commands of a study do, beyond the registry's part: propose, join, take part, and finish.

coordinator  propose ............................ finish: steps, file, consents
site                  join (charged, signed) .... take_part: answers, until this site has consented
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from embhub.artifact import fingerprint
from embhub.artifact.header import check_token
from embhub.client.member import studies
from embhub.client.publishing.push import AskPassphrase
from embhub.diffusion.bases import own_images
from embhub.diffusion.bases.adapted import refuse_claim
from embhub.diffusion.bases.found import FoundBase
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.bases.sizes import read_rule
from embhub.diffusion.dp import second_opinion, settings
from embhub.diffusion.dp.settings import Protection
from embhub.diffusion.families import check_trainable
from embhub.diffusion.studies import learner, proposing, seats, terms
from embhub.diffusion.studies.flare import kits, relay
from embhub.diffusion.studies.proposing import StudySettings
from embhub.diffusion.studies.seats import Seat
from embhub.diffusion.training.captions import check_caption
from embhub.durable import locked, write_atomic
from embhub.errors import ConfigError, EmbhubError, RegistryError, UsageError
from embhub.images.checks import synthetic
from embhub.images.images import ImageSet
from embhub.ledger import studies as ledger
from embhub.ledger.publications import Confirm
from embhub.progress import OnProgress, Progress
from embhub.study.plan import Study

if TYPE_CHECKING:
    from embhub.diffusion.studies.flare.network import Coordinator

Say = Callable[[str], None]
LOOK, LINGER = 2.0, 30.0
"""Seconds between two looks at the registry, or at what this site was asked; and for which a site that signed stays."""
LISTEN = 30.0
"""Seconds after which a site that takes part asks the registry anew whether somebody withdrew."""


def propose(
    asked: StudySettings, *, base: str, device: str, key: str | None, registry: str | None,
    ask_passphrase: AskPassphrase | None,
) -> studies.Fetched:  # fmt: skip
    """Make a study of a base that lies here, keep its frame, and propose it at the registry.

    Args:
        asked: without `base` and `base_name`, which are found here.
        key: name of the publishing key of the repository's namespace.

    Raises:
        UsageError, PrivacyError: as `proposing.make_study`, or numbers that no study has.
        ConfigError, RegistryError: as `studies.propose`.
    """
    found = find_base(base)
    pipe = load_pipeline(found, device=device)
    check_trainable(pipe)
    digest = fingerprint.digest(fingerprint.take(found.folder))
    try:
        study, frame = proposing.make_study(replace(asked, base=digest, base_name=found.name), pipe)
    except ValueError as error:
        raise UsageError(f"no study has these numbers: {error}") from error
    for plan in (study.noise.against_outsiders, study.noise.against_sites):
        second_opinion.check_plan(plan, delta=study.delta)
    seats.take_chair(study, frame, base=base, device=device)
    try:
        return studies.propose(study, key=key, registry=registry, ask_passphrase=ask_passphrase)
    except EmbhubError:
        shutil.rmtree(seats.place(study.digest, "coordinator"))  # nothing was begun
        raise


def join(
    fetched: studies.Fetched, seat: Seat, *, key: str | None, registry: str | None,
    ask_passphrase: AskPassphrase | None, confirm: Confirm | None, say: Say, on_progress: OnProgress | None = None,
) -> studies.Fetched:  # fmt: skip
    """Charge this site's patients for all steps, make a key, and sign that the site takes part.

    Where the registry could not be reached in the end, the same call goes on: nothing is charged twice.

    Args:
        fetched: the study as its officer saw it.
        seat: without `site`, which is found here.
        key: name of the officer's key, with the role `approve`.
        confirm: asked where the total of this site rules out hardly any attack.

    Raises:
        UsageError: no site of the study, joined already, settings that this version does not know, another base than
            the study's, a resolution that it does not allow, or images that are too small or cannot be read.
        BadTokenError, UsageError, PrivacyError: token or caption of the study are none that a file may have.
        PrivacyError: images without patients or of the base, a cap of the ledger, or nobody confirmed.
        PolicyError: as `studies.refuse_unconfirmed`.
        ConfigError, RegistryError: a key or the ledger cannot be used, or the registry refuses.
    """
    study = fetched.plan
    site = studies.find_site(fetched, key=key, registry=registry)
    studies.refuse_unconfirmed(fetched, here=site)
    if not seats.is_taken(study.digest):
        if ledger.find(study.digest):  # what was begun is not known, and patients might be others
            raise ConfigError("the ledger was charged for this study, and its folder is not here", "do not join again")
        images, members, _ = seats.read_split(seat, on_progress)
        synthetic.refuse(images.synthetic, images.kind)
        found = _check(study, seat, members)
        _check_sizes(study, found, images)
        own_images.refuse(found, images)
        for note in images.notes:
            say(note)
        ledger.tell(study, say=say, warn=say, confirm=confirm)
        with locked(seats.place(study.digest, "site")):  # a second join would take the seat of what this one charges
            seats.take_seat(study, replace(seat, site=site))  # first: a disk that is full costs no budget
            try:
                ledger.charge(study, members.names(), pictures=members.pictures(), on_note=say)
            except BaseException:
                seats.leave_seat(study.digest)
                raise
    public = seats.load_key(study.digest).public
    return studies.join(fetched, public, key=key, registry=registry, ask_passphrase=ask_passphrase)


def _check(study: Study, seat: Seat, members: ImageSet) -> FoundBase:
    """Before anything is charged: whether a training with these images and the base at hand can begin."""
    check_token(study.token)
    check_caption(study.caption, study.token)
    terms.recipe_of(study)
    terms.preprocessing_of(study)
    # In its range a clip leaves rows numbers whatever sums come: a training that diverges is made anew at each of them.
    settings.check_unit(Protection(study.epsilon, max_grad_norm=study.clip), members)
    if not len(members):
        raise UsageError("no image to learn from", "keep fewer patients back")
    found, _ = learner.find_site_base(study, seat.base)
    refuse_claim(found)
    return found


def _check_sizes(study: Study, found: FoundBase, images: ImageSet) -> None:
    """Refuse an image that is too small here, since the coordinator would read a refusal to prepare.

    `images` are also those kept back; `read_images` opened each. The coordinator chose the resolution.
    """
    asked, rule = terms.preprocessing_of(study), read_rule(found.folder)
    side = asked.resolution
    if side is None or (rule is not None and not rule.allows(side)):  # what `propose` writes is the base's own
        raise UsageError("the study states no resolution that its base allows", "ask its coordinator")
    images.check_resolution(side, asked.fit)


def take_part(
    digest: str, kit: Path, *, registry: str | None, on_progress: OnProgress | None = None, look: float = LOOK,
    linger: float = LINGER,
) -> str:  # fmt: skip
    """Wait for the other sites, then answer the coordinator until this site signed the file. Returns the file's digest.

    It lingers for some seconds more: the answer is on its way, and a coordinator that missed it asks again.

    Raises:
        UsageError: somebody withdrew, this site left or did not sign, or another's join counts no more.
        ConfigError: this site has not joined, no kit, or another process takes part for it.
        PolicyError: as `studies.refuse_unconfirmed`.
        CarrierError: FLARE is missing, or its process ended before.
    """
    report = on_progress or (lambda _: None)
    _standing(digest, "site")
    kits.read(kit)
    here = seats.site_of(digest)
    while (fetched := _open_study(digest, registry, here)).missing:
        done = len(fetched.joins)
        report(Progress("waiting for sites to join", done, len(fetched.plan.sites), ", ".join(fetched.missing)))
        time.sleep(look)
    seats.pin_keys(digest, "site", fetched.keys)
    heard, until, before = time.monotonic(), math.inf, _standing(digest, "site").judged
    log = seats.place(digest, "site") / "connection.log"
    with seats.open_site(digest) as site, relay.started(kit, site.site, log) as link:
        while time.monotonic() < until:
            if (asked := link.task(look)) is not None:
                with link.still():
                    answer = site.answer(*asked)
                link.answer(answer)
            signed = _standing(digest, "site")
            report(Progress("taking part", signed.begun, fetched.plan.attempts))
            if signed.consented or signed.judged != before:
                until = min(until, time.monotonic() + linger)
            elif signed.withdrawn:
                raise UsageError("this site withdrew from the study")
            elif signed.left:
                raise UsageError("this site has left the study", signed.trouble or "ask the coordinator")
            elif time.monotonic() > heard + LISTEN:
                heard = _listen(digest, registry, here)
    if not signed.consented:
        raise UsageError(
            "this site judged the file and did not sign it",
            "its held-out loss says no; the study may be released with the consent of enough others",
        )
    return signed.consented


def finish(digest: str, out: Path, made: Path, *, registry: str | None, on_progress: OnProgress | None = None) -> Study:
    """Run the study with the sites that joined, and write the file that they consent to, with the study's record.

    After a kill the same call goes on with the next number. It waits for all sites at first, and for a quorum later.

    Args:
        made: the kits that `propose` came with.

    Raises:
        UsageError: a site has not joined yet, or somebody withdrew.
        ConfigError: this machine did not propose the study, or no kits.
        StudyEndedError: too few sites were left, or consented.
        CarrierError: FLARE is missing, or its port is taken.
    """
    _standing(digest, "coordinator")
    kits.read(made / kits.COORDINATOR)
    fetched, report = _open_study(digest, registry), on_progress or (lambda _: None)
    study = fetched.plan
    if fetched.missing:
        raise UsageError(f"{', '.join(fetched.missing)} did not join yet", "run this again once they have")
    seats.pin_keys(digest, "coordinator", fetched.keys)
    if (found := seats.outcome(digest)) is None:
        with _listening(made / kits.COORDINATOR, study.sites) as cell:
            cell.wait(study.quorum, lambda here: report(Progress("waiting for sites", here, len(study.sites))))
            found = seats.coordinate(digest, cell.ask, on_progress)
    file, signed = found
    write_atomic(out, file)
    write_atomic(out.with_suffix(".study.json"), fetched.record(signed))
    return study


def _listening(kit: Path, sites: Sequence[str]) -> AbstractContextManager[Coordinator]:
    kits.check_installed()
    from embhub.diffusion.studies.flare import network

    return network.listening(kit, sites)


def _open_study(digest: str, registry: str | None, here: str | None = None) -> studies.Fetched:
    fetched = studies.fetch(digest, registry=registry)
    if here is not None:  # the coordinator has no patients
        studies.refuse_unconfirmed(fetched, here=here)
    if fetched.withdrawn:
        raise UsageError(f"{', '.join(fetched.withdrawn)} withdrew from this study, which ended it")
    return fetched


def _listen(digest: str, registry: str | None, here: str) -> float:
    """Raises UsageError: somebody withdrew, or a join counts no more, as its key was stolen: a thief may have the seat.

    A registry that is not there just now ends no study.
    """
    with suppress(RegistryError):
        if missing := _open_study(digest, registry, here).missing:
            raise UsageError(
                f"the key by which {', '.join(missing)} joined was revoked",
                "run this again: it waits until they have signed anew",
            )
    return time.monotonic()


def _standing(digest: str, role: seats.Role) -> seats.Standing:
    if (found := seats.standing(digest, role)) is None:
        raise ConfigError(f"this machine has no part in the study {digest[:12]} as {role}", "join or propose it first")
    return found
