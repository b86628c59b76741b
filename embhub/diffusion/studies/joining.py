"""What the commands of a study do, beyond the registry's part: propose, join, take part, and finish.

coordinator  propose ............................ finish: server, job, file, consents
site                  join (charged, signed) .... take_part: client, until this site has consented
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from embhub.artifact import fingerprint
from embhub.artifact.header import check_token
from embhub.client.member import studies
from embhub.client.publishing.push import AskPassphrase
from embhub.diffusion.bases import own_images
from embhub.diffusion.bases.adapted import refuse_claim
from embhub.diffusion.bases.found import FoundBase
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.dp import second_opinion, settings
from embhub.diffusion.dp.settings import Protection
from embhub.diffusion.families import check_trainable
from embhub.diffusion.studies import proposing, seats, terms
from embhub.diffusion.studies.flare import kits as machines
from embhub.diffusion.studies.flare import network
from embhub.diffusion.studies.proposing import StudySettings
from embhub.diffusion.studies.seats import Seat
from embhub.diffusion.training.captions import check_caption
from embhub.durable import write_atomic
from embhub.errors import ConfigError, EmbhubError, RegistryError, UsageError
from embhub.images.checks import synthetic
from embhub.images.images import ImageSet
from embhub.ledger import studies as ledger
from embhub.ledger.publications import Confirm
from embhub.progress import OnProgress, Progress
from embhub.study.coordinating import StudyEndedError
from embhub.study.plan import Study

Say = Callable[[str], None]
LOOK, LINGER = 2.0, 30.0
"""Seconds between two looks at the registry, or at what an engine has left; and for which a site that signed stays."""
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
        seat: without `site` and `members`, which are found here.
        key: name of the officer's key, with the role `approve`.
        confirm: asked where the total of this site rules out hardly any attack.

    Raises:
        UsageError: no site of the study, joined already, settings that this version does not know, another base than
            the study's, or images that do not fit.
        BadTokenError, UsageError, PrivacyError: token or caption of the study are none that a file may have.
        PrivacyError: images without patients or of the base, a cap of the ledger, or nobody confirmed.
        ConfigError, RegistryError: a key or the ledger cannot be used, or the registry refuses.
    """
    study = fetched.plan
    site = studies.find_site(fetched, key=key, registry=registry)
    if not seats.is_taken(study.digest):
        if ledger.find(study.digest):  # what was begun is not known, and patients might be others
            raise ConfigError("the ledger was charged for this study, and its folder is not here", "do not join again")
        images, members, _ = seats.read_split(seat, on_progress)
        synthetic.refuse(images.synthetic, images.kind)
        found = _check(study, seat, members)
        own_images.refuse(found, images)
        for note in images.notes:
            say(note)
        ledger.tell(study, say=say, warn=say, confirm=confirm)
        # First the seat: a disk that is full costs no budget.
        seats.take_seat(study, replace(seat, site=site, members=seats.name_members(members)))
        ledger.charge(study, members.names(), pictures=members.pictures(), on_note=say)
    public = seats.load_key(study.digest).public
    return studies.join(fetched, public, key=key, registry=registry, ask_passphrase=ask_passphrase)


def _check(study: Study, seat: Seat, members: ImageSet) -> FoundBase:
    """Before anything is charged: whether a training with these images and the base at hand can begin."""
    check_token(study.token)
    check_caption(study.caption, study.token)
    terms.recipe_of(study)
    terms.preprocessing_of(study)
    settings.check_unit(Protection(study.epsilon), members)
    if not len(members):
        raise UsageError("no image to learn from", "keep fewer patients back")
    found = find_base(seat.base or study.base_name)
    if fingerprint.digest(fingerprint.take(found.folder)) != study.base:
        raise UsageError(f"the base {study.base_name} here is not the study's", "install the base that it names")
    refuse_claim(found)
    return found


def take_part(
    digest: str, kit: Path, *, registry: str | None, on_progress: OnProgress | None = None, look: float = LOOK,
    linger: float = LINGER,
) -> str:  # fmt: skip
    """Wait for the other sites, then run this site's engine until it has signed the file. Returns the file's digest.

    It lingers for some seconds more: the answer is on its way, and a coordinator that missed it asks again.

    Raises:
        UsageError: no kit, or somebody withdrew.
        ConfigError: this site has not joined.
        CarrierError: FLARE is missing, or its client ended before.
    """
    report = on_progress or (lambda _: None)
    _check_part(digest, "site", kit)
    while (fetched := _open_study(digest, registry)).missing:
        done = len(fetched.joins)
        report(Progress("waiting for sites to join", done, len(fetched.plan.sites), ", ".join(fetched.missing)))
        time.sleep(look)
    seats.pin_keys(digest, "site", fetched.keys)
    attempts, own = fetched.plan.attempts, seats.own_kit(digest, kit)
    heard = time.monotonic()
    with _running(machines.start(own)) as client:
        while not (signed := _standing(digest, "site")).consented:
            _check_alive(client, own)
            if signed.withdrawn:
                raise UsageError("this site withdrew from the study")
            if time.monotonic() > heard + LISTEN:
                heard = _hear_of_withdrawals(digest, registry)
            report(Progress("taking part", signed.begun, attempts))
            time.sleep(min(look, 1.0))
        time.sleep(linger)
    return signed.consented


def finish(digest: str, out: Path, kits: Path, *, registry: str | None, on_progress: OnProgress | None = None) -> Study:
    """Run the study with the sites that joined, and write the file that they consent to, with the study's record.

    After a kill the same call goes on with the next number.

    Raises:
        UsageError: no kits, a site has not joined yet, or somebody withdrew.
        ConfigError: this machine did not propose the study.
        StudyEndedError: too few sites were left, or consented.
        CarrierError: FLARE is missing or did not run the study.
    """
    _check_part(digest, "coordinator", kits / "coordinator")
    fetched, report = _open_study(digest, registry), on_progress or (lambda _: None)
    study = fetched.plan
    if fetched.missing:
        raise UsageError(f"{', '.join(fetched.missing)} did not join yet", "run this again once they have")
    seats.pin_keys(digest, "coordinator", fetched.keys)
    if seats.outcome(digest) is None:
        seconds = 3600 + 6.0 * study.attempts * (study.round_seconds + 10)
        with _running(network.start(kits / "coordinator")) as server:

            def ended() -> bool:
                _check_alive(server, kits / "coordinator")
                report(Progress("studying", _standing(digest, "coordinator").begun, study.attempts))
                return seats.outcome(digest) is not None

            network.run_job(kits, digest, study.sites, quorum=study.quorum, seconds=seconds, ended=ended)
    if (found := seats.outcome(digest)) is None:
        said = _standing(digest, "coordinator").trouble
        raise StudyEndedError(f"the study ended without a file: {said or 'see the log of the coordinator'}")
    file, signed = found
    write_atomic(out, file)
    write_atomic(out.with_suffix(".study.json"), fetched.record(signed))
    return study


def _open_study(digest: str, registry: str | None) -> studies.Fetched:
    fetched = studies.fetch(digest, registry=registry)
    if fetched.withdrawn:
        raise UsageError(f"{', '.join(fetched.withdrawn)} withdrew from this study, which ended it")
    return fetched


def _hear_of_withdrawals(digest: str, registry: str | None) -> float:
    """Raises UsageError: somebody withdrew. A registry that is not there just now ends no study."""
    with suppress(RegistryError):
        _open_study(digest, registry)
    return time.monotonic()


def _check_part(digest: str, role: seats.Role, kit: Path) -> None:
    _standing(digest, role)
    if not (kit / "startup").is_dir():
        raise UsageError(f"{kit} is no kit of a FLARE machine", "`embhub study propose` writes one for each of them")


def _standing(digest: str, role: seats.Role) -> seats.Standing:
    if (found := seats.standing(digest, role)) is None:
        raise ConfigError(f"this machine has no part in the study {digest[:12]} as {role}", "join or propose it first")
    return found


def _check_alive(process: subprocess.Popen[bytes], kit: Path) -> None:
    if process.poll() is not None:
        raise network.CarrierError("the FLARE process ended", f"its log is {kit / 'process.log'}")


@contextmanager
def _running(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """An engine that ends with this command, also where that is told to end: FLARE's processes would outlive it."""

    def end(number: int, _: object) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end) if threading.current_thread() is threading.main_thread() else None
    try:
        yield process
    finally:
        network.stop(process)
        if before is not None:
            signal.signal(signal.SIGTERM, before)
