"""`embhub curate review`: proposed releases, for the approvers of a namespace."""

from __future__ import annotations

import sys
from typing import Any

import click

from embhub.cli import options
from embhub.cli.describing import print_every_check, refusals_listed
from embhub.cli.output import print_json, print_pairs, print_table, remark
from embhub.cli.whole_help import WholeHelpGroup
from embhub.formats.plain_text import plain

proposal = click.argument("proposal", metavar="ID")


@click.group("review", cls=WholeHelpGroup, short_help="Approve proposed releases by their digest.")
def command() -> None:
    """Look at proposed releases, and approve or decline them.

    Where a registry says that releases need approval, a push waits. Nobody sees it but the approvers of the
    namespace and its publisher.

    \b
    Example:
      embhub curate review list
      embhub curate review show 0123456789abcdef0123456789abcdef01234567
      embhub curate review approve 0123456789abcdef0123456789abcdef01234567 --key officer
    """


@command.command("list")
@options.registry
@options.as_json
def list_(registry: str | None, as_json: bool) -> None:
    """List the proposals that you may see, open ones first.

    \b
    Example:
      embhub curate review list --json
    """
    from embhub.client.member import reviewing

    rows = reviewing.list_proposals(registry)
    if as_json:
        print_json(rows)
    elif rows:
        shown = [(r["id"], r["repository"], r["version"] or "-", r["state"], _count(r)) for r in rows]
        print_table([tuple(map(plain, row)) for row in shown])
    else:
        remark("no proposals")


@command.command("show")
@proposal
@options.registry
@options.as_json
def show(proposal: str, registry: str | None, as_json: bool) -> None:
    """Fetch the files of a proposal, compute their digest, and verify them as a release. Nothing is approved.

    \b
    Example:
      embhub curate review show 0123456789abcdef0123456789abcdef01234567
    """
    from embhub.client.member import reviewing

    with refusals_listed(as_json=as_json):
        draft = reviewing.fetch(proposal, registry=registry)
    print_json(dict(draft.facts)) if as_json else _print(draft)


@command.command("approve")
@proposal
@click.option("--digest", metavar="SHA256", help="Digest that you approve; without it you are asked on a terminal.")
@click.option(
    "--without-key", is_flag=True,
    help="Do not sign: the registry alone attests the approval. Log in first, by `embhub login --device`.",
)  # fmt: skip
@options.key
@options.registry
@options.as_json
def approve(
    proposal: str, digest: str | None, without_key: bool, key: str | None, registry: str | None, as_json: bool
) -> None:
    """Fetch and verify a proposal, then approve its digest, signed with your own key.

    The key needs the role approve in the registry's keyring. Neither the account that proposed the release nor the key
    that signed it can approve it. The approval is of exactly these files.

    Without a key, an access token alone is not enough: it has to be one that you let in within the last 15 minutes.

    \b
    Example:
      embhub curate review approve 0123456789abcdef0123456789abcdef01234567 --key officer
    """
    from embhub.client.member import reviewing

    with refusals_listed(as_json=as_json):
        draft = reviewing.fetch(proposal, registry=registry)
    if not as_json:
        _print(draft)
    _agree(draft.digest, digest)
    done = reviewing.approve(draft, key=key, signed=not without_key, ask_passphrase=options.ask_passphrase)
    print_json(done) if as_json else print_pairs(done)


@command.command("decline")
@proposal
@click.option("--reason", required=True, help="Reason; who proposed the release reads it. Name no patient.")
@options.registry
@options.as_json
def decline(proposal: str, reason: str, registry: str | None, as_json: bool) -> None:
    """Decline a proposal, or withdraw your own. Its files are removed from the registry.

    \b
    Example:
      embhub curate review decline 0123456789abcdef0123456789abcdef01234567 --reason "the card names the wrong scanner"
    """
    from embhub.client.member import reviewing

    done = reviewing.decline(proposal, reason=reason, registry=registry)
    print_json(done) if as_json else print_pairs(done)


@command.command("embargo")
@proposal
@click.option(
    "--until", metavar="TIME", required=True, help="When the embargo ends, such as 2027-01-31T08:00:00Z, or now."
)
@options.registry
@options.as_json
def embargo(proposal: str, until: str, registry: str | None, as_json: bool) -> None:
    """Let the embargo of a release that you proposed end earlier or later, before it is over.

    If it ends earlier, approvals that were given do not count any more.

    \b
    Example:
      embhub curate review embargo 0123456789abcdef0123456789abcdef01234567 --until 2027-03-01T08:00:00Z
    """
    from embhub.client.member import reviewing

    done = reviewing.move_embargo(proposal, until=until, registry=registry)
    print_json(done) if as_json else print_pairs(done)


@command.command("link")
@proposal
@click.option("--for", "purpose", metavar="WHOM", required=True, help="Whom the link is for; name no patient.")
@click.option("--days", type=click.IntRange(1, 30), default=14, show_default=True, help="Days until it ends.")
@options.registry
@options.as_json
def link(proposal: str, purpose: str, days: int, registry: str | None, as_json: bool) -> None:
    """Make a link by which somebody without an account reads this proposal, and nothing else. It is shown once.

    It ends with the proposal. It needs an access token that you let in within the last 15 minutes.

    \b
    Example:
      embhub login --device --scope publish
      embhub curate review link 0123456789abcdef0123456789abcdef01234567 --for "ethics board" --days 7
    """
    from embhub.client.member import reviewing

    done = reviewing.make_link(proposal, purpose=purpose, days=days, registry=registry)
    print_json(done) if as_json else print_pairs({**done, "purpose": plain(done["purpose"])})


@command.command("links")
@proposal
@options.registry
@options.as_json
def links(proposal: str, registry: str | None, as_json: bool) -> None:
    """List the links for outside reviewers of a proposal, with how often each was used.

    \b
    Example:
      embhub curate review links 0123456789abcdef0123456789abcdef01234567
    """
    from embhub.client.member import reviewing

    rows = reviewing.list_links(proposal, registry=registry)
    shown = [(r["id"], r["purpose"], r["made_by"], r["expires"], f"used {r['uses']} times") for r in rows]
    print_json(rows) if as_json else print_table([tuple(map(plain, row)) for row in shown])


@command.command("unlink")
@proposal
@click.argument("link", metavar="LINK")
@options.registry
@options.as_json
def unlink(proposal: str, link: str, registry: str | None, as_json: bool) -> None:
    """End a link by its id, whoever of you made it.

    \b
    Example:
      embhub curate review unlink 0123456789abcdef0123456789abcdef01234567 0a1b2c3d4e5f
    """
    from embhub.client.member import reviewing

    done = reviewing.end_link(proposal, link, registry=registry)
    print_json(done) if as_json else print_pairs(done)


def _count(row: dict[str, Any]) -> str:
    return f"{len(row['approvals'])} of {row['needed']} approvals"


def _print(draft: Any) -> None:
    if draft.verified is not None:
        print_every_check(draft.verified)
        print_pairs({"description": plain(draft.verified.card.description or "", longest=2000)})
    facts = draft.facts
    print_pairs({
        "proposed by": plain(f"{facts['proposed_by']}, {facts['proposed']}"), "approvals": plain(_count(facts)),
        "title": plain(facts["title"]), "message": plain(facts["message"], longest=2000),
        "files": plain(", ".join(sorted(draft.files)), longest=5000), "digest": draft.digest,
    })  # fmt: skip


def _agree(found: str, digest: str | None) -> None:
    from embhub.errors import UsageError

    if digest is not None and digest != found:
        raise UsageError(f"the digest is {found}, not the one that you gave", "look at the proposal again")
    if digest is None and not (sys.stdin.isatty() and click.confirm("Approve these files?", err=True)):
        raise UsageError("nothing was approved", f"pass --digest {found}")
