"""Reports on bases: what a statement may hold, who may sign one, and which reports agree."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub.errors import ArtifactError, EmbhubError
from embhub.refusals import MalformedStatementError, ReleaseRefusedError, WrongRegistryError, WrongRoleError
from embhub.release.checks import base_report
from embhub.release.checks.base_report import CHECKS, Unsigned, identifier, spelled
from embhub.trust import bundle, kinds, statement
from embhub.trust.bundle import Bundle
from tests.support import base_reports, releases
from tests.support.base_reports import DOCUMENT, FINGERPRINT, forged, report, signed, unsigned
from tests.support.damage import damaged, odd_json
from tests.support.quick import examples

TRUST = releases.make_trust()


def changed(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    made = copy.deepcopy(DOCUMENT)
    change(made)
    return made


def test_what_was_signed_is_read_again() -> None:
    found = base_report.read(signed("learns"), trusts=[TRUST], fingerprint=FINGERPRINT)
    assert (found.namespace, found.key, found.fingerprint) == ("radboud", releases.SITE.fingerprint, FINGERPRINT)
    assert found.report == report("learns") and "learns" not in found.report.passed
    assert found.report.in_words().endswith(f"{len(CHECKS) - 1} of {len(CHECKS)} checks passed; not learns")
    read = base_report.parse(unsigned("learns"))
    assert isinstance(read, Unsigned) and read.report == found.report and read.to_bytes() == unsigned("learns")
    assert isinstance(base_report.parse(bundle.to_json(signed().envelope)), Bundle)


@pytest.mark.parametrize(
    "change",
    [
        lambda made: made.update(host="node17.hospital.example"),
        lambda made: made["machine"].update(host="node17"),
        lambda made: made["machine"].update(device="/home/anna/models"),
        lambda made: made["machine"].update(device="NVIDIA\nA100"),
        lambda made: made["machine"].update(device="A" * 81),
        lambda made: made["machine"].update(peak_bytes=-1),
        lambda made: made["base"].update(name="/data/models/sd15"),
        lambda made: made["base"].update(name="<script>"),
        lambda made: made["base"].update(name="hôpital"),
        lambda made: made["base"].update(family="See evil.example"),
        lambda made: made["base"].update(pipeline="Do not use. Call 555-1234"),
        lambda made: made["base"].update(pipeline="Pipelineé"),
        lambda made: made["base"].update(components={"write to": "A"}),
        lambda made: made["base"].update(components={"unet": "me@evil.example"}),
        lambda made: made["base"].update(components={f"part{number}": "A" for number in range(25)}),
        lambda made: made["program"].update(embhub="newest"),
        lambda made: made["program"].update(torch="2.13.0, write to us"),
        lambda made: made["machine"].update(precision="float32 of course"),
        lambda made: made["machine"].update(device="me@evil.example"),
        lambda made: made["checks"].pop(),
        lambda made: made["checks"].reverse(),
        lambda made: made["checks"].append(made["checks"][0]),
        lambda made: made["checks"][0].update(outcome="fine"),
        lambda made: made["checks"][0].update(figures={"patients": 3}),
        lambda made: made["checks"][0].update(figures={"seconds": 1e300}),
        lambda made: made["checks"][0].update(fault="No such file: /home/anna"),
        lambda made: made.update(phantoms="c" * 63),
    ],
)
def test_what_the_rules_do_not_name_is_refused(change: Callable[[dict[str, Any]], Any]) -> None:
    with pytest.raises(MalformedStatementError):
        base_report.read(forged(report=changed(change)), trusts=[TRUST])


def test_one_spelling_one_subject_one_kind() -> None:
    base_report.read(forged(), trusts=[TRUST])
    for members in ({"more": 1}, {"registry": "https://hub.example.org"}, {"created": "today"}):
        with pytest.raises(MalformedStatementError):
            base_report.read(forged(**members), trusts=[TRUST])
    made = statement.parse(signed().envelope.payload)
    other = statement.Statement(made.digest, made.predicate_type, made.predicate)  # named like an embedding
    with pytest.raises(MalformedStatementError, match="one spelling"):
        base_report.read_facts(other.to_bytes())
    with pytest.raises(MalformedStatementError, match="one spelling"):
        base_report.read_facts(json.dumps(json.loads(made.to_bytes()), indent=1).encode())
    with pytest.raises(ReleaseRefusedError, match="another base"):
        base_report.read(signed(), trusts=[TRUST], fingerprint="d" * 64)


def test_who_may_sign() -> None:
    for key in (releases.SITE, releases.AUDITOR):
        base_report.read(signed(key=key), trusts=[TRUST])
    approver = releases.make_key("an approver")
    keyring = releases.make_keyring(members=[releases.member("umcu", [(approver, "approve")])])
    with pytest.raises(WrongRoleError):
        base_report.read(signed(key=approver), trusts=[releases.make_trust(keyring)])
    with pytest.raises(ReleaseRefusedError):
        base_report.read(signed(key=releases.STRANGER), trusts=[TRUST])
    with pytest.raises(WrongRegistryError):
        base_report.read(signed(registry="other.example.org"), trusts=[TRUST])


def test_reports_agree_on_base_version_and_outcomes() -> None:
    def read(found: Bundle) -> base_report.Reported:
        return base_report.read(found, trusts=[TRUST])

    newer = {**DOCUMENT["program"], "embhub": "0.1.7", "torch": "2.12.0"}
    later = {**DOCUMENT["program"], "embhub": "0.2.0"}
    mine, theirs = read(signed()), read(signed(key=releases.AUDITOR, program=newer, phantoms="d" * 64))
    assert [len(group) for group in base_report.agreeing([mine, theirs])] == [2]
    for other in (
        read(signed("learns", key=releases.AUDITOR)), read(signed(key=releases.AUDITOR, program=later)),
        read(signed(key=releases.AUDITOR, fingerprint="d" * 64)),
    ):  # fmt: skip
        assert [len(group) for group in base_report.agreeing([mine, other])] == [1, 1]
    idle = [{**check, "outcome": "not-run"} if check["name"] == "acts" else check for check in DOCUMENT["checks"]]
    fell, idled = read(signed("acts")), read(signed(key=releases.AUDITOR, checks=idle))
    assert fell.report.passed == idled.report.passed
    assert len(base_report.agreeing([fell, idled])) == 2, "what failed is not what was left out"
    again = read(signed("learns", created=releases.NOW + timedelta(days=400)))
    older = read(signed(created=releases.NOW))
    assert base_report.agreeing([again, older]) == [[again]], "of one namespace the newest counts"


def test_the_families_are_those_of_diffusion() -> None:
    pytest.importorskip("torch")
    from embhub.diffusion.families import FAMILIES

    assert set(get_args(base_report.Family)) == {one.name for one in FAMILIES} | {"unknown"}


def test_a_devices_name_loses_what_no_name_has() -> None:
    assert spelled("NVIDIA A100-SXM4-80GB") == "NVIDIA A100-SXM4-80GB"
    assert spelled("Graphics <b> /dev/dri\n") == "Graphics -b- -dev-dri" and spelled("///") == "unknown"
    assert len(spelled("A" * 300)) == 80


def test_the_name_of_a_class_is_one() -> None:
    assert identifier("CLIPTextModel") == "CLIPTextModel" and identifier("text_encoder_2") == "text_encoder_2"
    assert identifier("é b@c.d") == "__b_c_d" and identifier("2nd") == "_2nd" and identifier("") == "unknown"
    assert len(identifier("9" * 300)) == 80


def test_a_file_that_is_none() -> None:
    for data in (b"", b"{}", b"[1]", b'{"schema": "embhub.audit/3"}', b"x" * (kinds.BASE_REPORT.bytes + 1)):
        with pytest.raises(ArtifactError):
            base_report.parse(data)


@settings(max_examples=examples(60))
@given(st.data())
def test_any_bytes(data: st.DataObject) -> None:
    valid = data.draw(st.sampled_from([unsigned(), bundle.to_json(base_reports.signed().envelope)]))
    document = data.draw(st.one_of(damaged(valid), odd_json(valid), st.binary(max_size=200)))
    try:
        found = base_report.parse(document)
        if isinstance(found, Bundle):
            base_report.read(found, trusts=[TRUST])
    except EmbhubError as error:
        assert error.message and len(str(error)) < 20_000
