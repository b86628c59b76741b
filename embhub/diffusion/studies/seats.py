"""What a site, and the coordinator, keep of a study between the command that joins or proposes it and its end.

    STATE/studies/DIGEST/site/         study, seat.json, study.key, keys.json, and what `embhub.study.folder` remembers
    STATE/studies/DIGEST/coordinator/  the same without a key, then release.safetensors and consents.json

An engine's process knows the study by its digest alone, and opens its place by that.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.dp import settings
from embhub.diffusion.studies import assembling, learner
from embhub.diffusion.train import make_record
from embhub.durable import write_atomic
from embhub.errors import ConfigError, EmbhubError
from embhub.images.images import ImageSet, read_images
from embhub.ledger import studies as ledger
from embhub.privacy.claim import Build
from embhub.progress import OnProgress
from embhub.site import builds, config
from embhub.site.memory import runs
from embhub.site.signing import keys as signing
from embhub.study import claims, folder
from embhub.study.answering import StudySite
from embhub.study.coordinating import StudyRun
from embhub.study.plan import Study, read_study
from embhub.study.tasks import Ask
from embhub.trust import dsse, p256

Role = Literal["site", "coordinator"]
KEY = "study"


@dataclass(frozen=True)
class Seat:
    """What a site said when it joined.

    Attributes:
        site: its namespace.
        images, manifest, where: as `embhub.images.images.read_images` takes them.
        holdout: share of the patients kept back, to judge by.
        base: where the base lies here; empty for the built-in one of the study's name.
        device: as in a training.
    """

    site: str
    images: str
    manifest: str | None = None
    where: str | None = None
    holdout: float = 0.2
    base: str = ""
    device: str = "auto"


def place(digest: str, role: Role) -> Path:
    """The folder of a study at this site.

    Raises:
        ConfigError: not a digest.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ConfigError("a study is named by the SHA-256 of its document")
    return config.paths().state / "studies" / digest / role


def read_split(seat: Seat, on_progress: OnProgress | None = None) -> tuple[ImageSet, ImageSet, ImageSet]:
    """All images, those to learn from, whose patients are to be charged, and those kept back.

    Raises:
        UsageError, PrivacyError: as `read_images`, and `split` of `embhub.diffusion.dp.settings`.
    """
    images = read_images(seat.images, manifest=seat.manifest, where=seat.where, on_progress=on_progress)
    return images, *settings.split(images, seat.holdout)


def is_taken(digest: str) -> bool:
    """Whether this site has its folder and key of a study, and its ledger was charged.

    Raises:
        ConfigError, LedgerTamperedError: as `embhub.ledger.studies.find`.
    """
    return (place(digest, "site") / f"{KEY}.pub").exists() and ledger.find(digest) is not None


def withdraw(digest: str) -> None:
    """This site answers no more in a study, if it has a seat in it. Raises ConfigError: it cannot be written."""
    if (there := place(digest, "site")).exists():
        folder.withdraw(there)


def take_seat(study: Study, seat: Seat) -> signing.SigningKey:
    """Write a site's folder, and make its key of this study, which is returned.

    Nothing is answered from there until the ledger was charged for the study, and until then it may be taken anew.

    Raises:
        ConfigError: it has joined already, or cannot write.
    """
    leave_seat(study.digest)
    there = place(study.digest, "site")
    folder.create(there)
    _write(there, "study", study.to_bytes())
    _write(there, "seat.json", json.dumps(asdict(seat)).encode())
    return signing.generate(KEY, folder=there)


def leave_seat(digest: str) -> None:
    """Remove a site's folder and key of a study, if nothing was charged or begun.

    Raises:
        ConfigError, LedgerTamperedError: as `is_taken`.
    """
    there = place(digest, "site")
    if there.exists() and not folder.was_begun(there) and ledger.find(digest) is None:
        shutil.rmtree(there)


def take_chair(study: Study, frame: bytes, *, base: str = "", device: str = "auto") -> None:
    """Write the coordinator's folder; `base` is where the base lies here, if not under the study's name.

    Raises:
        ConfigError: it is there already, or cannot be written.
    """
    there = place(study.digest, "coordinator")
    folder.create(there)
    _write(there, "study", study.to_bytes())
    _write(there, "frame", frame)
    _write(there, "seat.json", json.dumps({"base": base, "device": device}).encode())


def pin_keys(digest: str, role: Role, keys: Mapping[str, p256.PublicKey]) -> None:
    """Keep what each site signs this study's messages with, once all have joined and every join was verified.

    Raises:
        ConfigError: others are kept here. A registry that put its own in their place midway would play those sites.
    """
    there, found = place(digest, role), {site: p256.public_pem(key) for site, key in sorted(keys.items())}
    if (there / "keys.json").exists() and _read(there, "keys.json") != found:
        raise ConfigError("the registry now shows other keys of the sites than before", "ask them; do not go on")
    _write(there, "keys.json", json.dumps(found).encode())


def site_of(digest: str) -> str:
    """For which site this machine joined a study. Raises ConfigError: it has not, or the folder is damaged."""
    return str(_read(place(digest, "site"), "seat.json")["site"])


def load_key(digest: str) -> signing.SigningKey:
    """This site's key of a study. Raises ConfigError: there is none."""
    return signing.load(KEY, folder=place(digest, "site"))


@contextmanager
def open_site(digest: str) -> Iterator[StudySite]:
    """This site in a study, ready to answer; its images are read when the frame comes.

    Raises:
        StudyStepError: the ledger was not charged for this study.
        LedgerTamperedError: the ledger was changed.
        ConfigError: it has not joined, not all sites have, or another process works for it.
    """
    there, study, keys = _open(digest, "site")
    seat = Seat(**_read(there, "seat.json"))

    def split() -> tuple[ImageSet, ImageSet]:
        _, members, back = read_split(seat)
        ledger.check_members(digest, members.names(), pictures=members.pictures())
        return members, back

    def prepare(frame: bytes) -> learner.SiteLearner:
        return learner.site_training(study, *split(), base=seat.base or None, device=seat.device)(frame)

    def consent(file: bytes) -> None:
        made = artifact.parse(file)
        runs.save(make_record(made, *split(), seat.base or study.base_name, study.caption, {"study": digest}))
        ledger.note_release(digest, made.digest)

    with folder.opened(there, study) as memory:
        yield StudySite(
            study, keys, seat.site, load_key(digest), memory, charged=ledger.find(digest), prepare=prepare,
            consent=consent, withdrawn=lambda: memory.withdrawn,
        )  # fmt: skip


def coordinate(
    digest: str, ask: Ask, on_progress: OnProgress | None = None
) -> tuple[bytes, dict[str, bytes]]:  # fmt: skip
    """Run a study to its end, or go on with it: steps, file, consents. Returns the file, and each site's consent.

    Raises:
        ConfigError: not all sites have joined, or the folder cannot be used.
        StudyEndedError: too few sites are left, or consent.
        BrokenMechanismError: a self-test failed, so that nothing can be claimed.
    """
    there, study, keys = _open(digest, "coordinator")
    with folder.opened(there, study) as memory, _noting(memory):
        if (frame := memory.frame) is None:
            raise ConfigError("the study's frame is missing, or is another one", "propose the study again")
        run = StudyRun(study, keys, frame, ask, memory, on_progress)
        sums = run.run()
        if not (there / "release.safetensors").exists():  # a file that a site signed is not made anew
            seat = _read(there, "seat.json")
            _write(there, "release.safetensors", _assemble(study, frame, sums, seat["base"], seat["device"]))
        file = (there / "release.safetensors").read_bytes()
        signed = run.gather_consents(file)
        encoded = {site: dsse.encode(signature) for site, signature in sorted(signed.items())}
        _write(there, "consents.json", json.dumps(encoded).encode())
        return file, signed


@dataclass(frozen=True)
class Standing:
    """How far a study is here: numbers `begun`, how many `sums` are known, and what last went wrong, if anything.

    A site may have `withdrawn`, or `left` as its training failed. `judged` and `consented` are the file that it judged,
    and the one that it signed, by their SHA-256 (hex).
    """

    begun: int
    sums: int
    trouble: str
    withdrawn: bool
    left: bool
    judged: str
    consented: str


def standing(digest: str, role: Role) -> Standing | None:
    """Where this machine stands in a study, also while another process works for it; None where it has no part.

    Raises:
        ConfigError: not a digest, or a damaged folder.
    """
    there = place(digest, role)
    if not there.is_dir():
        return None
    try:
        begun = int((there / "begun").read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"the study's folder {there} is damaged") from error
    written = ("trouble", "judged", "consented")
    said = {name: path.read_text() if (path := there / name).exists() else "" for name in written}
    withdrawn, left = ((there / name).exists() for name in ("withdrawn", "left"))
    return Standing(begun, len(list((there / "sums").glob("[0-9]*"))), withdrawn=withdrawn, left=left, **said)


def outcome(digest: str) -> tuple[bytes, dict[str, bytes]] | None:
    """The release file and each site's consent to it; None while the study has not come to its end."""
    there = place(digest, "coordinator")
    if not (there / "consents.json").exists():
        return None
    signed = {site: dsse.decode(text) for site, text in _read(there, "consents.json").items()}
    return (there / "release.safetensors").read_bytes(), signed


@contextmanager
def _noting(memory: folder.StudyFolder) -> Iterator[None]:
    """What ends a study is in its folder: the engine's process has no other way to say it."""
    try:
        yield
    except EmbhubError as error:
        memory.note(str(error))
        raise


def _assemble(study: Study, frame: bytes, sums: Any, base: str, device: str) -> bytes:
    found = find_base(base or study.base_name)
    pipe = load_pipeline(found, device=device)
    build = Build(**builds.installed()._asdict())
    claim = claims.claim_of(study, self_test=assembling.try_code(study), build=build)
    coordinates = assembling.coordinates_of(study, sums)
    read = learner.read_frame(study, pipe, frame)
    return assembling.assemble(study, pipe, fingerprint.take(found.folder), read, coordinates, claim)


def _open(digest: str, role: Role) -> tuple[Path, Study, dict[str, p256.PublicKey]]:
    there = place(digest, role)
    if not (there / "study").exists():
        raise ConfigError(f"this machine has no part in the study {digest[:12]} as {role}", "join or propose it first")
    study = read_study((there / "study").read_bytes())
    if study.digest != digest:
        raise ConfigError(f"the study in {there} is another one")
    if not (there / "keys.json").exists():
        raise ConfigError("not all sites of the study have joined", "wait for them")
    return there, study, {site: p256.read_public(pem.encode()) for site, pem in _read(there, "keys.json").items()}


def _write(there: Path, name: str, data: bytes) -> None:
    write_atomic(there / name, data, mode=0o600)


def _read(there: Path, name: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((there / name).read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{there / name} is missing or damaged", "leave the study") from error
    return found
