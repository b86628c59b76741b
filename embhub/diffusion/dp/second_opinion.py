"""Asks the accountants of opacus what they make of a private training: before it starts, and of the claim it ends in.

Opacus counts the same mechanism (Gaussian noise on a Poisson sample, neighbours by one unit more or less) by code of
its own. Its PRVAccountant composes the loss in one direction, with the unit against without; our figure is the larger
of both directions, so a lower bound on one is a lower bound on it. DP-Agg is a single step: one Gaussian release.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import lru_cache
from importlib import metadata
from typing import TypeVar

import numpy as np

from embhub.privacy import epsilon as epsilons
from embhub.privacy.claim import PrivacyClaim
from embhub.privacy.loss_distribution import Mechanism
from embhub.privacy.rdp import ORDERS
from embhub.privacy.second_opinion import Bounds, SecondOpinion, compare

MOST_CELLS = 2**21
"""PRV gets no finer grid than this: it takes about 3 s, and the process peaked at 850 MB (measured)."""
_RELATIVE_ERROR, _SMALLEST_ERROR, _LARGEST_ERROR = 0.01, 0.001, 0.5  # opacus' theory wants eps_error below 1
_DELTA_SHARE = 1000  # opacus' own default: delta_error is delta / 1000
_KEPT = 64  # a training asks twice, before and after; failures are never kept
_NUMERIC = (ArithmeticError, ValueError, RuntimeError, IndexError, MemoryError)
_INTERFACE = (ImportError, AttributeError, TypeError)


Figure = TypeVar("Figure", float, Bounds)


class _NoFigureError(Exception):
    """Why an accountant gave no figure to rely on."""


def check_plan(plan: Mechanism, *, delta: float) -> SecondOpinion:
    """Ask about a training that is about to start, so that a figure to be refused costs no budget.

    Args:
        plan: sampling rate, noise multiplier and steps.
        delta: as in (epsilon, delta)-differential privacy.

    Raises:
        ClaimBelowBoundError: our epsilon lies below PRV's lower bound.
    """
    ours = epsilons.compute(plan, delta=delta)
    return _ask(plan, delta=delta, epsilon=ours.epsilon, epsilon_rdp=ours.rdp)


def check_claim(claim: PrivacyClaim) -> SecondOpinion:
    """Ask about a claim; of a study of several sites, about both of its figures.

    Args:
        claim: what the training would be published with; its epsilon is taken as stated.

    Returns:
        Both figures, PRV's bounds, and whether they agree; with the reason where opacus cannot say.

    Raises:
        ClaimBelowBoundError: an epsilon of the claim lies below PRV's lower bound.
    """
    (parameters,), (weakest,) = claim.parameters, claim.weakest
    found = _ask(parameters, delta=claim.delta, epsilon=claim.epsilon, epsilon_rdp=claim.epsilon_rdp)
    if claim.study is None:
        return found
    rdp = epsilons.compute(weakest, delta=claim.delta).rdp
    larger = _ask(weakest, delta=claim.delta, epsilon=claim.study.epsilon_against_sites, epsilon_rdp=rdp)
    return found.model_copy(update={"against_sites": larger})


def _ask(asked: Mechanism, *, delta: float, epsilon: float, epsilon_rdp: float) -> SecondOpinion:
    rdp = _figure(lambda: _by_rdp(asked, delta))
    found = _figure(lambda: _by_prv(asked, delta, epsilon, rdp if isinstance(rdp, float) else None))
    return compare(
        version=_version(),
        delta=delta,
        epsilon=epsilon,
        epsilon_rdp=epsilon_rdp,
        rdp=rdp if isinstance(rdp, float) else None,
        found=found,
    )


def _figure(ask: Callable[[], Figure]) -> Figure | str:
    """What an accountant says, or why it says nothing: a failure of its arithmetic must never pass for agreement."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return ask()
    except _NoFigureError as error:
        return str(error)
    except _NUMERIC as error:
        return f"the arithmetic of opacus failed: {_say(error)}"
    except _INTERFACE as error:
        return f"this version of opacus cannot be asked: {_say(error)}"


@lru_cache(maxsize=_KEPT)
def _by_rdp(asked: Mechanism, delta: float) -> float:
    """Epsilon by opacus' RDPAccountant on our orders."""
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = [(asked.sigma, asked.q, asked.steps)]
    epsilon = float(accountant.get_epsilon(delta, alphas=list(ORDERS)))
    if not math.isfinite(epsilon):
        raise _NoFigureError(f"its RDP accountant says {epsilon:g}")
    return max(epsilon, 0.0)


@lru_cache(maxsize=_KEPT)
def _by_prv(asked: Mechanism, delta: float, epsilon: float, rdp: float | None) -> Bounds:
    """Both of PRV's bounds, from what `get_epsilon` computes before it returns the upper one alone."""
    from opacus.accountants import PRVAccountant

    eps_error = min(max(_RELATIVE_ERROR * epsilon, _SMALLEST_ERROR), _LARGEST_ERROR)
    delta_error = delta / _DELTA_SHARE
    accountant = PRVAccountant()
    accountant.history = [(asked.sigma, asked.q, asked.steps)]
    errors = {"eps_error": eps_error, "delta_error": delta_error}
    prvs = [_step(asked)]
    cells = accountant._get_domain(prvs=prvs, num_self_compositions=[asked.steps], **errors).size
    _check_numbers(asked, cells, delta_error)
    lower, _, upper = accountant._get_dprv(**errors).compute_epsilon(delta, delta_error, eps_error)
    if not (math.isfinite(lower) and math.isfinite(upper) and lower < upper):
        raise _NoFigureError(f"its PRV accountant found bounds that are none: {lower:g} and {upper:g}")
    if rdp is not None and lower > rdp:
        raise _NoFigureError(
            f"its accountants contradict each other: at least {lower:.4f} by PRV, at most {rdp:.4f} by RDP"
        )
    return Bounds(float(lower), float(upper), eps_error, delta_error)


def _step(asked: Mechanism) -> object:
    from opacus.accountants.analysis.prv import PoissonSubsampledGaussianPRV

    step: object = PoissonSubsampledGaussianPRV(asked.q, asked.sigma)
    return step


def _check_numbers(asked: Mechanism, cells: int, delta_error: float) -> None:
    """Refuse what would exhaust memory, or where rounding in double precision would exceed the error allowed for."""
    if cells > MOST_CELLS:
        raise _NoFigureError(
            f"its PRV accountant would need {cells:,} cells of memory, and more than {MOST_CELLS:,} are not given to it"
        )
    if (asked.steps + math.sqrt(cells)) * np.finfo(np.float64).eps > delta_error:
        raise _NoFigureError(
            f"delta is too small for its PRV accountant: rounding over {asked.steps:,} steps exceeds {delta_error:.1e}"
        )


def _version() -> str:
    try:
        return metadata.version("opacus")
    except metadata.PackageNotFoundError:
        return "that is not installed"


def _say(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:300].rstrip(". ") or type(error).__name__
