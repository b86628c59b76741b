"""What a site, or the coordinator, remembers of a study on disk: which numbers were begun, and the public sums.

**Privacy rests on `begin`**: a number is on the disk before anything of its step leaves, and none is begun twice, nor
one below it. The folder must not be put back from a backup, nor copied to a second machine: what was begun since is
forgotten there, and would be begun again beyond what the ledger has charged. One process at a time has it open. A task
that is still at work when it lets go writes nothing any more: another process may have begun further numbers by then.

    begun            the last number that was begun
    sums/000001 ...  what the steps that ended well led to, in their order: numbers of 32 bits, little-endian
    frame            start rows and directions, once they came
    withdrawn        is there once this site withdrew
    judged           SHA-256 of the one file that this site judged by its patients kept back
    late             how many steps this site was late at
    left             is there once this site left, as its training failed midway or was late too often
    consented        SHA-256 of the file that this site signed
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from embhub import durable
from embhub.errors import ConfigError
from embhub.study import wire
from embhub.study.grid import Residues
from embhub.study.plan import Study
from embhub.study.wire import StudyStepError

_DAMAGED = "leave the study: what was begun is not known any more, and may not be begun again"


def create(path: Path) -> None:
    """A folder for a study in which nothing was begun; only its owner may read it.

    Raises:
        ConfigError: it is there already, or cannot be written.
    """
    try:
        path.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise ConfigError(f"cannot make the study's folder {path}: {error.strerror}") from error
    durable.write_atomic(path / "begun", b"0", mode=0o600)


def was_begun(path: Path) -> bool:
    """Whether a number may have been begun in this folder; one that was not made to its end has none."""
    return (begun := path / "begun").exists() and begun.read_bytes() != b"0"


def withdraw(path: Path) -> None:
    """This site takes part no more, from the next number on; a process that has the folder open sees it.

    Raises:
        ConfigError: it cannot be written.
    """
    durable.write_atomic(path / "withdrawn", b"", mode=0o600)


@contextmanager
def opened(path: Path, study: Study) -> Iterator[StudyFolder]:
    """The folder, for this process alone while open.

    Raises:
        ConfigError: it is not there, is damaged, or another process has it.
    """
    if not path.is_dir():
        raise ConfigError(f"there is no study in {path}", "join the study first")
    with durable.alone(path):
        found = StudyFolder(path, study)
        try:
            yield found
        finally:
            found.close()


class StudyFolder:
    """A study's folder; see `opened`. `begun` is the last number that was begun, `sums` are those kept so far.

    Raises:
        ConfigError: it is damaged. Whatever writes raises it too once the folder was let go.
    """

    def __init__(self, path: Path, study: Study) -> None:
        self.path, self._study = path, study
        self._writing, self._is_open, self._left = threading.Lock(), True, False
        try:
            self.begun, self.sums = self._read_begun(), self._read_sums()
        except (OSError, ValueError) as error:
            raise self._damaged() from error

    def close(self) -> None:
        """Nothing is written from here on; a write that has begun is waited for."""
        with self._writing:
            self._is_open = False

    def begin(self, number: int) -> None:
        """Write down that a number is begun; it is on the disk when this returns.

        Raises:
            StudyStepError: it was begun, lies below one that was, or above what the study allows.
            ConfigError: it cannot be written, or another number is on the disk than the last one that was begun here.
                Nothing may be sent then.
        """
        with self._to_write():
            if not self.begun < number <= self._study.attempts:
                raise StudyStepError(
                    f"number {number} was begun or left out before, or the study ends at {self._study.attempts}"
                )
            try:
                on_disk = self._read_begun()
            except (OSError, ValueError) as error:
                raise self._damaged() from error
            if on_disk != self.begun:
                raise self._damaged()
            durable.write_atomic(self.path / "begun", str(number).encode(), mode=0o600)
            self.begun = number

    def keep(self, total: Residues) -> None:
        """Add a public sum (width,).

        Raises:
            StudyStepError: more sums than numbers.
            ConfigError: it cannot be written.
        """
        with self._to_write():
            if len(self.sums) >= self._study.attempts:
                raise StudyStepError("more sums than the study has steps")
            name = f"{len(self.sums) + 1:06}"
            durable.write_atomic(self.path / "sums" / name, wire.vector_bytes(total), mode=0o600)
            self.sums.append(total)

    @property
    def frame(self) -> bytes | None:
        """The frame's file, if it came and is the study's."""
        path = self.path / "frame"
        data = path.read_bytes() if path.exists() else None
        return data if data is not None and hashlib.sha256(data).hexdigest() == self._study.frame else None

    @frame.setter
    def frame(self, data: bytes) -> None:
        self._write("frame", data)

    @property
    def judged(self) -> str | None:
        """Which file was judged, by its SHA-256 in hex."""
        path = self.path / "judged"
        return path.read_text() if path.exists() else None

    @judged.setter
    def judged(self, digest: str) -> None:
        self._write("judged", digest.encode())

    @property
    def consented(self) -> str | None:
        """Which file was signed, by its SHA-256 in hex."""
        path = self.path / "consented"
        return path.read_text() if path.exists() else None

    @consented.setter
    def consented(self, digest: str) -> None:
        self._write("consented", digest.encode())

    @property
    def withdrawn(self) -> bool:
        """Whether this site has withdrawn, see `withdraw`."""
        return (self.path / "withdrawn").exists()

    @property
    def late(self) -> int:
        """How many steps this site was late at."""
        path = self.path / "late"
        return int(path.read_text()) if path.exists() else 0

    @late.setter
    def late(self, steps: int) -> None:
        self._write("late", str(steps).encode())

    @property
    def left(self) -> bool:
        """Whether this site has left, see `leave`."""
        return self._left or (self.path / "left").exists()

    def leave(self) -> None:
        """This site answers nothing more, also after a restart.

        Raises:
            ConfigError: it cannot be written; it holds for as long as the folder is open.
        """
        self._left = True
        durable.write_atomic(self.path / "left", b"", mode=0o600)

    def note(self, trouble: str) -> None:
        """Leave word for the people of this site, which goes nowhere else."""
        with suppress(ConfigError):  # a full disk is no reason to fall silent
            self._write("trouble", trouble.encode())

    @contextmanager
    def _to_write(self) -> Iterator[None]:
        with self._writing:
            if not self._is_open:
                raise ConfigError(f"the study's folder {self.path} is not open any more")
            yield

    def _write(self, name: str, data: bytes) -> None:
        with self._to_write():
            durable.write_atomic(self.path / name, data, mode=0o600)

    def _damaged(self) -> ConfigError:
        return ConfigError(f"the study's folder {self.path} is damaged", _DAMAGED)

    def _read_begun(self) -> int:
        text = (self.path / "begun").read_text()
        if str(int(text)) != text or not 0 <= int(text) <= self._study.attempts:
            raise ValueError(text)
        return int(text)

    def _read_sums(self) -> list[Residues]:
        found = sorted((self.path / "sums").glob("[0-9]*"))
        if [path.name for path in found] != [f"{place + 1:06}" for place in range(len(found))]:
            raise ValueError("sums are missing")
        return [wire.vector_of(path.read_bytes(), self._study.width) for path in found]
