"""What a registry says of revisions that their publisher took back. Pure.

Nobody signed it: it is the registry's word, good for a warning. A registry that hides it hides no more than it could by
being silent, and one that invents it frightens people off its own files.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from embhub.formats import strict_json
from embhub.formats.plain_text import plain
from embhub.formats.validation import explain
from embhub.refusals import Finding

MAX_BYTES = 1_000_000
CHECK = "yanked"
WHO = {
    "operator": " by the registry's operator",
    "publisher": " by its publisher",
    "site": " by a site of its study",
    "key-stolen": " because a signing key was stolen",
}


class Yank(BaseModel):
    """One revision that was taken back: which, why, when and by whom, in the registry's words.

    A registry that does not say who leaves `by` empty; any other word than those of `WHO` is not repeated.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, defer_build=True)

    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    version: Annotated[str, Field(max_length=100)] | None = None
    reason: Annotated[str, Field(max_length=2_000)]
    date: Annotated[str, Field(max_length=40)]
    by: Annotated[str, Field(max_length=40)] = ""

    def to_json(self) -> dict[str, str]:
        """Why and when, fit for a terminal."""
        return {"reason": plain(self.reason), "date": plain(self.date)}

    def as_finding(self, registry: str) -> Finding:
        """The warning that whoever fetches it reads first."""
        version = f", version {plain(self.version)}" if self.version else ""
        said, who = self.to_json(), WHO.get(self.by, "")
        text = (
            f"yanked{who} on {said['date']}: {said['reason']} (so says {registry} of revision {self.revision[:12]}"
            f"{version}; this is the registry's unsigned statement)"
        )
        return Finding(CHECK, "warning", text)


class _Quarantined(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, defer_build=True)

    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class _Status(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, defer_build=True)

    repository: str
    yanked: list[Yank]
    quarantined: list[_Quarantined] = []


def parse(data: bytes, *, repository: str) -> tuple[Yank, ...]:
    """The yanked revisions in a registry's answer about `repository`.

    Raises:
        ValueError: not such an answer, or one about another repository.
    """
    return tuple(_status(data, repository).yanked)


def parse_quarantined(data: bytes, *, repository: str) -> frozenset[str]:
    """The revisions in such an answer that the registry set aside while it looks at them: they are not withdrawn.

    Raises:
        ValueError: as `parse`.
    """
    return frozenset(row.revision for row in _status(data, repository).quarantined)


def _status(data: bytes, repository: str) -> _Status:
    document = strict_json.read_object(data, limit=MAX_BYTES)
    try:
        status = _Status.model_validate(document)
    except ValidationError as error:
        raise ValueError(explain(error)) from error
    if status.repository != repository:
        raise ValueError("it is about another repository")
    return status
