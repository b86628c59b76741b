"""A site's log policy, shown and written: the witnesses that this site relies on, and how many of them must cosign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from embhub.client.log import logged
from embhub.durable import write_atomic
from embhub.errors import ConfigError, UsageError
from embhub.log import notes, policies
from embhub.log.errors import LogError
from embhub.log.notes import VerifierKey
from embhub.log.policies import LogPolicy
from embhub.site import config

ALL = "all"
_GROUP = "witnesses"


def describe() -> dict[str, Any]:
    """The log policy of this site. Raises ConfigError: it cannot be read."""
    policy = logged.site_policy()
    path = config.paths().config / logged.POLICY_FILE
    return {
        "file": str(path) if path.exists() else None,
        "logs": [str(log) for log in policy.logs],
        "witnesses": [str(key) for key in policy.witnesses.values()],
        "quorum": _in_words(policy),
    }


def write(witnesses: Sequence[str], *, quorum: str = ALL, replace: bool = False) -> None:
    """Rely on these witnesses from now on. The log keys of an earlier file are kept.

    Args:
        witnesses: their verifier keys, learned from those who run them.
        quorum: how many of them must cosign: a number, or `all`.
        replace: whether an earlier file may be replaced.

    Raises:
        UsageError: a key that is no witness's or stands twice, or a quorum of another number of witnesses.
        ConfigError: there is a file, and `replace` was not given; or it cannot be read or written.
    """
    path = config.paths().config / logged.POLICY_FILE
    if path.exists() and not replace:
        raise ConfigError(f"there is a log policy: {path}", "edit it, or add --replace and name every witness")
    keys = [_key(text) for text in witnesses]
    lines = [f"log {log}" for log in logged.site_policy().logs]
    lines += [f"witness w{number} {key}" for number, key in enumerate(keys, 1)]
    lines += [f"group {_GROUP} {_number(quorum, len(keys))} {' '.join(f'w{n + 1}' for n in range(len(keys)))}"]
    data = "\n".join([*lines, f"quorum {_GROUP}", ""]).encode()
    try:
        policies.parse(data)
    except LogError as error:
        raise UsageError(f"these witnesses make no log policy: {error.message}", "name each witness once") from error
    write_atomic(path, data)


def _key(text: str) -> VerifierKey:
    hint = "copy the whole line that `embhub log watch --cosign` prints after `witness`, in quotation marks"
    try:
        key = notes.parse_key(text.strip())
    except LogError as error:
        raise UsageError(f"{text[:60]!a} is no verifier key: {error.message}", hint) from error
    if key.kind not in notes.WITNESSES:
        raise UsageError(f"{text[:60]!a} is the key of a log, and not of a witness", hint)
    return key


def _number(quorum: str, of: int) -> str:
    if quorum == ALL or (quorum.isascii() and quorum.isdecimal() and 1 <= int(quorum) <= of):
        return quorum
    raise UsageError(
        f"a quorum of {quorum[:20]!a} is not possible with {of} witnesses", "give --quorum a number, or all"
    )


def _in_words(policy: LogPolicy) -> str:
    if not policy.asks_for_witnesses:
        return "none: no witness is asked for"
    group = policy.groups.get(policy.quorum)
    if group is None or not all(member in policy.witnesses for member in group.members):
        return policy.quorum
    return f"{group.least} of {len(group.members)}"
