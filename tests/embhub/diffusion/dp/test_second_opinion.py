"""opacus is asked about every private training: honest claims agree, forged ones are refused, a failure is neither."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant, RDPAccountant
from opacus.accountants.analysis import prv

from embhub.__main__ import main
from embhub.artifact import embedding
from embhub.diffusion.dp import private_training, second_opinion, selftest
from embhub.ledger.books import open_books
from embhub.phantoms import write_dataset
from embhub.privacy import loss_distribution, self_test
from embhub.privacy.claim import PrivacyClaim, build_claim
from embhub.privacy.loss_distribution import Mechanism
from embhub.privacy.rdp import ORDERS
from embhub.privacy.second_opinion import ClaimBelowBoundError
from embhub.site import config
from embhub.site.memory import runs
from tests.support.claims import make_claim, make_study_claim
from tests.support.quick import examples


@pytest.fixture(autouse=True)
def forgotten() -> None:
    """Opacus is asked anew in each test, since some break it."""
    second_opinion._by_rdp.cache_clear()
    second_opinion._by_prv.cache_clear()


def test_both_figures_of_a_study_are_asked_about() -> None:
    claim = make_study_claim()
    opinion = second_opinion.check_claim(claim)
    larger = opinion.against_sites
    assert larger is not None and opinion.agreement == larger.agreement == "agrees", opinion.sentence
    assert (opinion.epsilon, larger.epsilon) == (claim.epsilon, claim.largest_epsilon)
    assert larger.rdp == pytest.approx(larger.epsilon_rdp, abs=3e-4) and larger.epsilon_rdp > opinion.epsilon_rdp
    assert second_opinion.check_claim(make_claim()).against_sites is None


def test_a_second_figure_below_what_opacus_finds_is_refused() -> None:
    claim = make_study_claim()
    assert claim.study is not None
    forged = claim.model_copy(update={"study": claim.study.model_copy(update={"epsilon_against_sites": claim.epsilon})})
    with pytest.raises(ClaimBelowBoundError):
        second_opinion.check_claim(forged)


ASKED = {"n_public": 20, "steps": 4, "batch_size": 5, "noise_draws": 1, "subspace_dim": 4}


@settings(max_examples=examples(15), deadline=None)
@given(
    batch=st.integers(10, 1000),
    sigma=st.floats(0.6, 60.0),
    steps=st.integers(1, 2000),
    delta=st.floats(1e-6, 1e-5),
)
@example(batch=1000, sigma=6.0, steps=1, delta=1e-5)  # one Gaussian release, as of dp-agg
@example(batch=160, sigma=12.0, steps=500, delta=1e-5)
@example(batch=10, sigma=0.6, steps=2000, delta=1e-6)
@pytest.mark.thorough
def test_honest_figures_agree(batch: int, sigma: float, steps: int, delta: float) -> None:
    asked = Mechanism(batch / 1000, sigma, steps)
    opinion = second_opinion.check_plan(asked, delta=delta)
    if opinion.agreement == "none":  # where opacus was not asked for want of memory, the figure is out of any use
        assert opinion.epsilon > 50 and "memory" in str(opinion.reason)
        return
    assert opinion.agreement == "agrees", opinion.sentence
    assert opinion.rdp == pytest.approx(opinion.epsilon_rdp, abs=3e-4)
    assert opinion.prv_lower is not None and opinion.prv_upper is not None
    assert opinion.prv_upper - opinion.prv_lower < max(0.03 * opinion.epsilon, 0.003), "bounds that say something"


def test_figures_are_those_of_opacus_own_interface() -> None:
    claim = make_claim()
    opinion = second_opinion.check_claim(claim)
    by_prv, by_rdp = PRVAccountant(), RDPAccountant()
    by_prv.history = by_rdp.history = [(claim.sigma, claim.sampling.q, claim.steps)]
    errors = {"eps_error": opinion.eps_error, "delta_error": opinion.delta_error}
    assert opinion.prv_upper == by_prv.get_epsilon(claim.delta, **errors)
    assert opinion.rdp == by_rdp.get_epsilon(claim.delta, alphas=list(ORDERS))
    assert opinion.prv_lower is not None and opinion.prv_upper is not None
    assert opinion.prv_lower < claim.epsilon < opinion.prv_upper < claim.epsilon * 1.02
    assert opinion.version and opinion.agreement == "agrees"


def test_a_claim_forged_below_the_lower_bound_is_refused() -> None:
    """A claim that no reader would take, as only a broken accountant of ours could write it."""
    claim = make_claim()
    lower = second_opinion.check_claim(claim).prv_lower
    assert lower is not None and 0.98 * claim.epsilon < lower < claim.epsilon
    assert second_opinion.check_claim(claim.model_copy(update={"epsilon": lower * 1.001})).agreement == "agrees"
    with pytest.raises(ClaimBelowBoundError, match=r"is below 1\.97\d\d"):
        second_opinion.check_claim(claim.model_copy(update={"epsilon": lower * 0.999}))


@pytest.mark.parametrize(
    ("asked", "delta", "words"),
    [
        (Mechanism(1.0, 0.05, 400_000), 1e-5, "cells of memory"),
        (Mechanism(0.1, 5.0, 2000), 1e-12, "delta is too small"),
        pytest.param(Mechanism(0.9, 0.5, 1000), 1e-5, "bounds that are none", marks=pytest.mark.thorough),
    ],
)
def test_what_opacus_cannot_compute_is_no_agreement(asked: Mechanism, delta: float, words: str) -> None:
    opinion = second_opinion.check_plan(asked, delta=delta)
    assert opinion.agreement == "none" and words in str(opinion.reason)
    assert opinion.sentence.startswith("no second opinion, because ")


def test_a_numeric_failure_of_opacus_is_no_agreement() -> None:
    """Its integral of the mean is not good enough for so large a loss on so fine a grid."""
    opinion = second_opinion._ask(Mechanism(1.0, 0.02, 1), delta=1e-5, epsilon=1.0, epsilon_rdp=1.2)
    assert opinion.agreement == "none" and "Discrete mean differs" in opinion.sentence


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (MemoryError(), "arithmetic of opacus failed: MemoryError"),
        (IndexError("index 9 is out of bounds"), "index 9 is out of bounds"),
        (TypeError("unexpected keyword"), "cannot be asked: unexpected keyword"),
    ],
    ids=repr,
)
def test_whatever_else_fails_is_no_agreement(monkeypatch: pytest.MonkeyPatch, failure: Exception, words: str) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setattr(prv.DiscretePRV, "compute_epsilon", fail)
    opinion = second_opinion.check_claim(make_claim())
    assert opinion.agreement == "none" and words in opinion.sentence and opinion.rdp is not None


def test_a_training_asks_opacus_once_for_its_plan_and_its_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[None] = []
    honest = RDPAccountant.get_epsilon

    def count(self: RDPAccountant, *arguments: Any, **named: Any) -> float:
        calls.append(None)
        return float(honest(self, *arguments, **named))

    monkeypatch.setattr(RDPAccountant, "get_epsilon", count)
    claim = make_claim()
    (plan,) = claim.parameters
    before = second_opinion.check_plan(plan, delta=claim.delta)
    asked = len(calls)
    assert second_opinion.check_claim(claim) == before and len(calls) == asked > 0
    second_opinion.check_plan(plan, delta=claim.delta / 2)
    assert len(calls) > asked, "another question has an answer of its own"


def test_bounds_above_opacus_own_rdp_refuse_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lower bound above an upper one is a numeric failure, no evidence against the claim."""
    monkeypatch.setattr(prv.DiscretePRV, "compute_epsilon", lambda *_: (7.0, 7.1, 7.2))
    opinion = second_opinion.check_claim(make_claim())
    assert opinion.agreement == "none" and "contradict each other" in opinion.sentence


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_dataset(folder, "prostate-cspca", images=24, patients=22, normals=0, seed=0)
    return folder


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A self-test of fewer canaries: its own tests run the whole."""
    monkeypatch.setattr(self_test, "CANARIES", 200)
    monkeypatch.setattr(self_test, "DIMENSION", 1024)
    monkeypatch.setattr(selftest, "ROUNDS", 20)
    monkeypatch.setattr(selftest, "OWN_ROUNDS", (20, 200))


def command(images: Path, base: Path, out: Path, *more: str) -> list[str]:
    asked = [word for name, value in ASKED.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    words = ["--token", "<a>", "--caption", "mri, {}", "--base", str(base), "--device", "cpu", "--out", str(out)]
    return ["train", str(images), *words, "--epsilon", "4", *asked, *more]


@pytest.mark.parametrize("mechanism", ["dp-agg", pytest.param("dp-sgd", marks=pytest.mark.thorough)])
@pytest.mark.usefixtures("quick")
def test_train_keeps_and_prints_it(
    images: Path, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], mechanism: str
) -> None:
    out = tmp_path / "x.safetensors"
    asked = command(images, base, out, "--mechanism", mechanism)
    if mechanism == "dp-agg":
        at = asked.index("--batch-size")
        del asked[at : at + 2]
    assert main(asked) == 0
    made = embedding.read(out)
    run = runs.find(made.digest)
    assert isinstance(made.privacy, PrivacyClaim) and run is not None and run.second_opinion is not None
    assert run.second_opinion == second_opinion.check_claim(made.privacy)
    assert run.second_opinion.agreement == "agrees" and run.second_opinion.epsilon == made.privacy.epsilon
    printed = " ".join(capsys.readouterr().out.split())
    assert f"second opinion opacus {run.second_opinion.version} agrees: epsilon {made.privacy.epsilon:g}" in printed


def nothing_written(folder: Path, out: Path) -> bool:
    state = config.paths().state
    return not out.exists() and not list((state / "runs").glob("*")) and not list(state.rglob("*.private"))


@pytest.mark.usefixtures("quick")
def test_an_accountant_of_ours_that_counts_too_little_is_refused_before_anything_is_spent(
    images: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Noise is calibrated by the broken figure, and the claim would be consistent with itself."""
    honest = loss_distribution.epsilon_of
    monkeypatch.setattr(loss_distribution, "epsilon_of", lambda parts, *, delta: 0.7 * honest(parts, delta=delta))
    out = tmp_path / "x.safetensors"
    assert main(command(images, base, out)) == 6
    assert "the least that opacus" in capsys.readouterr().err and nothing_written(tmp_path, out)
    with open_books() as books:
        assert not books.account().runs, "and no patient's budget was touched"


@pytest.mark.thorough
@pytest.mark.usefixtures("quick")
def test_a_claim_below_the_bound_is_refused_after_the_training_too(
    images: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def forge(**facts: Any) -> PrivacyClaim:
        return build_claim(**facts).model_copy(update={"epsilon": 3.0})

    monkeypatch.setattr(private_training, "build_claim", forge)
    out = tmp_path / "x.safetensors"
    assert main(command(images, base, out)) == 6
    assert "epsilon 3 is below 3.9" in capsys.readouterr().err and nothing_written(tmp_path, out)
    with open_books() as books:
        (spent,) = books.account().runs.values()
    assert spent.announced == ASKED["steps"] and not spent.released, "what was spent stays spent"
