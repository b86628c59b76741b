"""A design without a result is shown on the release's page after a set time."""

from __future__ import annotations

import html
import re
from datetime import timedelta

from huggingface_hub import HfApi

from embhub.trust import bundle
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.statements import design_rows
from embhub_registry.database.statements.design_rows import DesignRow
from embhub_registry.repositories.audit_designs import RESULT_WITHIN
from tests.registry.conftest import House
from tests.support import designs, pushes, releases


def test_a_design_without_a_result_is_shown_once_its_time_is_over(house: House) -> None:
    name, artifact = "radboud/dropped", releases.make_embedding(seed=77)
    pushes.create(house.registry, "dropped", token=house.alice)
    release = releases.make_release(repository=name, name="dropped", artifact=artifact)
    assert pushes.commit(house.registry, name, release.files, token=house.alice).status == 200
    made = designs.register(artifact)
    data = bundle.to_json(made.registration.design.envelope)
    late, young = stamp(now() - RESULT_WITHIN - timedelta(days=1)), stamp(now() - timedelta(days=1))
    with house.registry.opened() as opened, opened.database.writing() as db:
        for identity, number, received in (("late", 1, late), ("young", 2, young), ("ended", 3, late)):
            design_rows.add(db, DesignRow(identity, artifact.digest, "radboud", number, data, received))
        design_rows.end(db, "ended", data, verdict="no-leak-detected", now=stamp())
    shown = house.registry.get(f"/{name}?format=json").json()["dropped"]
    assert shown == [{"namespace": "radboud", "number": 1, "since": late}]
    page = house.registry.get(f"/{name}", headers={"Accept": "text/html"}).body.decode()
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    assert "radboud registered audit 1 of these bytes" in text and "never sent its result" in text
    HfApi(endpoint=house.registry.url, token=house.registry.admin).update_repo_settings(name, gated="manual")
    assert house.registry.get(f"/{name}?format=json").json()["dropped"] == [], (
        "of a gated release it is for its readers"
    )
    assert house.registry.get(f"/{name}?format=json", token=house.alice).json()["dropped"] == shown
