"""Documents for programs that stand beside a page: written as canonical JSON, read back strictly."""

from __future__ import annotations

from typing import ClassVar, Self

import rfc8785
from pydantic import ValidationError

from embhub.audits.attack_figures import Strict
from embhub.errors import ArtifactError
from embhub.formats import strict_json


class Written(Strict):
    """What `evidence.json` and `intake.json` have in common.

    `KIND` and `COMMAND` say in an error what was expected and how it is made again; `MAX_BYTES` bounds what is read.
    """

    KIND: ClassVar[str]
    COMMAND: ClassVar[str]
    MAX_BYTES: ClassVar[int]

    def to_bytes(self) -> bytes:
        """Canonical JSON (RFC 8785)."""
        return rfc8785.dumps(self.model_dump(mode="json", by_alias=True))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the document strictly.

        Raises:
            ArtifactError: it is none.
        """
        try:
            strict_json.read_object(data, limit=cls.MAX_BYTES)
            return cls.model_validate_json(data, by_alias=True, by_name=False)
        except (ValidationError, strict_json.JsonError) as error:
            first = str(error).splitlines()[0]
            raise ArtifactError(
                f"this is no {cls.KIND} of embhub: {first}", f"write it again with `{cls.COMMAND}`"
            ) from error
