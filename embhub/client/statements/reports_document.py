"""What `state/heard.json` holds: its model, which is loaded where the file is there. `reports` reads and writes it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from embhub.privacy.composition import SiteTotal
from embhub.release.checks.attested import Attested
from embhub.release.checks.yanks import Yank


class Heard(BaseModel):
    """Yanks by registry, repository and version; audits by the embedding's SHA-256; totals by namespace."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    yanks: dict[str, Yank] = {}
    audits: dict[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], tuple[Attested, ...]] = {}
    totals: dict[str, SiteTotal] = {}
