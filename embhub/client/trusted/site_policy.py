"""What this site demands of every release that it verifies or pulls: its policy file, and what a call adds to it."""

from __future__ import annotations

from collections.abc import Iterable

from embhub.errors import ConfigError, UsageError
from embhub.release import policy as policies
from embhub.release.policy import STANDARD, STRICT, Demand, Policy
from embhub.site import config

POLICIES = {policy.name: policy for policy in (STANDARD, STRICT)}


def choose(policy: str | Policy = "standard", require: str | Iterable[str] = ()) -> Policy:
    """The policy of a call: the one named, what it requires besides, and whatever the policy file demands.

    A call adds to the policy file's demands and takes none away.

    Raises:
        UsageError: there is no policy, or no demand, of that name.
        ConfigError: the policy file cannot be read, or says something else.
    """
    chosen = find(policy).demanding(policies.parse(require) if require else ())
    name, more = of_the_file()
    if name == STRICT.name and chosen.countersigned_suffices:
        chosen = STRICT.demanding(chosen.demands)
    return chosen.demanding(more)


def find(policy: str | Policy) -> Policy:
    """A policy by its name; UsageError where there is none of that name."""
    if isinstance(policy, Policy):
        return policy
    if policy not in POLICIES:
        raise UsageError(f"there is no policy {policy!r}", f"choose one of {', '.join(POLICIES)}")
    return POLICIES[policy]


def of_the_file() -> tuple[str, tuple[Demand, ...]]:
    """The policy that the policy file names, and its further demands; `standard` and none without a file.

    Raises:
        ConfigError: the file is named and missing, cannot be read, or says something else.
    """
    path, values = config.read_policy()
    name, words = values.get("policy", STANDARD.name), values.get("require") or []
    if name not in POLICIES:
        raise ConfigError(f"policy in {path} is no policy: {name!r}", f"choose one of {', '.join(POLICIES)}")
    if isinstance(words, str):
        words = words.split(",")
    if not isinstance(words, list):
        raise ConfigError(f"require in {path} is no list of demands", f"demands are {', '.join(policies.NAMES)}")
    try:
        return name, policies.parse(words)
    except UsageError as error:
        raise ConfigError(f"require in {path}: {error.message}", error.hint) from error
