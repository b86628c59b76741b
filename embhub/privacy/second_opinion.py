"""What a second accountant says of a claim's epsilon: its figures, its bounds, and whether ours agrees. Pure.

`embhub.diffusion.dp.second_opinion` asks opacus; the run's record keeps the answer, and the evidence pack prints it.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from embhub.errors import PrivacyError

Agreement = Literal["agrees", "above", "none"]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1, max_length=500)]

MEANING = (
    "The PRV accountant of opacus shares no formula with the figure of the claim. Where epsilon lies below its lower"
    " bound, embhub writes no file. Above its upper bound a claim promises less than it could."
)


class ClaimBelowBoundError(PrivacyError):
    """A claim promises more privacy than a second accountant can confirm: its epsilon lies below a lower bound."""


class Bounds(NamedTuple):
    """Where epsilon lies by numerical composition of privacy-loss random variables (PRV).

    `lower` is the epsilon found at delta + `delta_error` less `eps_error`, `upper` the one at delta - `delta_error`
    plus `eps_error` (Gopi, Lee and Wutschitz 2021, arXiv 2106.02848).
    """

    lower: float
    upper: float
    eps_error: float
    delta_error: float


class SecondOpinion(BaseModel):
    """A claim's figures beside those of opacus.

    `epsilon` and `epsilon_rdp` are the claim's; `rdp` is that of opacus' RDPAccountant on the claim's orders, and
    `prv_lower` to `prv_upper` is where its PRVAccountant finds epsilon. `agreement` is `agrees` within these bounds,
    `above` for an epsilon larger than the upper one, and `none` where `reason` says why PRV gave no bounds. Of a study
    of several sites, `against_sites` is the same for its larger figure.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    accountant: Literal["opacus"] = "opacus"
    version: Text
    delta: Positive
    epsilon: Positive
    epsilon_rdp: Positive
    rdp: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] | None
    prv_lower: Finite | None
    prv_upper: Finite | None
    eps_error: Positive | None
    delta_error: Positive | None
    agreement: Agreement
    reason: Text | None
    against_sites: SecondOpinion | None = None

    @model_validator(mode="after")
    def _agreement_follows_from_the_figures(self) -> Self:
        bounds = (self.prv_lower, self.prv_upper, self.eps_error, self.delta_error)
        if any(value is None for value in bounds) != all(value is None for value in bounds):
            raise ValueError("the bounds of PRV and their errors are stated together")
        if (self.reason is None) != (self.prv_lower is not None):
            raise ValueError("a reason is given exactly where PRV gave no bounds")
        if self.agreement != _judge(self.epsilon, self.prv_lower, self.prv_upper):
            raise ValueError(f"agreement {self.agreement} does not follow from the figures")
        return self

    @property
    def sentence(self) -> str:
        """One sentence for a person; one that says so where there is no second opinion."""
        if self.against_sites is None:
            return self._of_one
        return f"{self._of_one}. Against another site of the study: {self.against_sites.sentence}"

    @property
    def _of_one(self) -> str:
        if self.prv_lower is None or self.prv_upper is None:
            return f"no second opinion, because {self.reason}"
        who, between = f"opacus {self.version}", f"{max(self.prv_lower, 0.0):.4g} and {self.prv_upper:.4g}"
        by_rdp = "" if self.rdp is None else f"; its RDP accountant finds {self.rdp:.4g}"
        if self.agreement == "agrees":
            inside = f"epsilon {self.epsilon:g} lies between {between}"
            return f"{who} agrees: {inside}, where its PRV accountant finds it{by_rdp}"
        return (
            f"{who} finds a smaller epsilon, between {between} by its PRV accountant: the claimed {self.epsilon:g}"
            f" promises less than it could{by_rdp}"
        )


def compare(
    *,
    version: str,
    delta: float,
    epsilon: float,
    epsilon_rdp: float,
    rdp: float | None,
    found: Bounds | str,
) -> SecondOpinion:
    """Put a claim's figures beside those of a second accountant.

    Args:
        version: of opacus.
        delta: of the claim.
        epsilon: of the claim, the smaller of its two figures.
        epsilon_rdp: of the claim, by its Rényi orders.
        rdp: by the second accountant's Rényi orders; None where it gave none.
        found: the bounds of PRV, or why there are none.

    Returns:
        Figures and agreement.

    Raises:
        ClaimBelowBoundError: epsilon lies below the lower bound.
    """
    bounds = found if isinstance(found, Bounds) else None
    if bounds is not None and epsilon < bounds.lower:
        raise ClaimBelowBoundError(
            f"epsilon {epsilon:g} is below {bounds.lower:.4f}, the least that opacus {version} finds for this noise,"
            f" sampling rate and number of steps at delta {delta:g}",
            "one of the two accountants is wrong, so no file was written; report this message as a security bug",
        )
    return SecondOpinion(
        version=version,
        delta=delta,
        epsilon=epsilon,
        epsilon_rdp=epsilon_rdp,
        rdp=rdp,
        prv_lower=bounds and bounds.lower,
        prv_upper=bounds and bounds.upper,
        eps_error=bounds and bounds.eps_error,
        delta_error=bounds and bounds.delta_error,
        agreement=_judge(epsilon, bounds.lower, bounds.upper) if bounds else "none",
        reason=None if isinstance(found, Bounds) else found,
    )


def _judge(epsilon: float, lower: float | None, upper: float | None) -> Agreement:
    if lower is None or upper is None:
        return "none"
    if epsilon < lower:
        raise ValueError(f"epsilon {epsilon:g} is below the lower bound {lower:g}")
    return "agrees" if epsilon <= upper else "above"
