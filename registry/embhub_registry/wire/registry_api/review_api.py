"""`/embhub/v1/review`: proposed releases, for approvers and who proposed them; to everybody else they are absent."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from embhub_registry.admission import approving
from embhub_registry.database.people.reviewer_links import ReviewerLink
from embhub_registry.http_errors import forbidden, malformed
from embhub_registry.people import access_tokens
from embhub_registry.repositories import embargoes, reviewer_links, reviewing
from embhub_registry.repositories.reviewing import Seen
from embhub_registry.wire.limits import bodies
from embhub_registry.wire.request_context import account_of, member_of, path_of, registry_of
from embhub_registry.wire.request_context import run_in_threadpool as threaded

PATH = "/embhub/v1/review"
PRIVATE = {"Cache-Control": "private, no-store"}


async def queue(request: Request) -> Response:
    """`GET /embhub/v1/review`: what the caller may see, open proposals first."""
    account, registry = account_of(request), registry_of(request)

    def collect() -> list[dict[str, Any]]:
        found = reviewing.queue(registry.database.connection(), account)
        return [to_json(approving.with_good_keys(registry, seen)) for seen in found]

    return JSONResponse({"proposals": await threaded(collect)}, headers=PRIVATE)


async def one(request: Request) -> Response:
    """`GET /embhub/v1/review/{proposal}`: a proposal. `POST` approves its digest, declines it, moves its embargo."""
    proposal_id = request.path_params["proposal"]
    if request.method == "POST":
        return JSONResponse(await _decide(request, proposal_id), headers=PRIVATE)
    account, registry = account_of(request), registry_of(request)
    seen = await threaded(lambda: reviewing.see(registry.database.connection(), account, proposal_id))
    return JSONResponse(to_json(await threaded(approving.with_good_keys, registry, seen)), headers=PRIVATE)


async def file(request: Request) -> Response:
    """`GET /embhub/v1/review/{proposal}/files/{path}`: a file of a proposal."""
    data = await threaded(
        reviewing.read_file,
        registry_of(request),
        account_of(request),
        request.path_params["proposal"],
        path_of(request),
    )
    return Response(data, media_type="application/octet-stream", headers=PRIVATE)


async def links(request: Request) -> Response:
    """`GET` lists the links for outside reviewers of a proposal; `POST` makes one, with a token that is a new proof."""
    registry, proposal_id = registry_of(request), request.path_params["proposal"]
    if request.method == "POST":
        account = member_of(request, "making links for reviewers")
        await threaded(lambda: reviewing.see(registry.database.connection(), account, proposal_id))
        body = await bodies.read_json(request)
        purpose, days = body.get("purpose"), body.get("days", reviewer_links.DAYS)
        if not isinstance(purpose, str) or not isinstance(days, int) or isinstance(days, bool):
            raise malformed("`purpose` is text, `days` a number or missing")
        if not access_tokens.is_fresh(account):
            raise forbidden(
                "an access token alone makes no link: this takes a new proof of who you are",
                "make it in the registry's page, or get a new token first: `embhub login --device --scope publish`",
                rule="proof",
            )
        made = await threaded(reviewer_links.make, registry, account, proposal_id, purpose=purpose, days=days)
        return JSONResponse(_link(made.link) | {"link": made.address}, headers=PRIVATE)
    account_or_none = account_of(request)
    found = await threaded(lambda: reviewer_links.links(registry.database.connection(), account_or_none, proposal_id))
    return JSONResponse({"links": [_link(one) for one in found]}, headers=PRIVATE)


async def link(request: Request) -> Response:
    """`DELETE /embhub/v1/review/{proposal}/links/{link}`: ends a link for an outside reviewer."""
    account, params = member_of(request, "ending links for reviewers"), request.path_params
    await threaded(reviewer_links.end, registry_of(request), account, params["proposal"], params["link"][:40])
    return JSONResponse({"id": params["link"], "answer": "ended"}, headers=PRIVATE)


def _link(found: ReviewerLink) -> dict[str, Any]:
    return {
        "id": found.id, "purpose": found.purpose, "made_by": found.maker, "made": found.created,
        "expires": found.expires, "uses": found.uses, "last_used": found.last_used,
    }  # fmt: skip


async def _decide(request: Request, proposal_id: str) -> dict[str, Any]:
    account, registry = member_of(request, "reviewing releases"), registry_of(request)
    seen = await threaded(lambda: reviewing.see(registry.database.connection(), account, proposal_id))
    body = await bodies.read_json(request)
    match body.get("answer"):
        case "approve":
            digest, signed = body.get("digest"), body.get("attestation")
            if not isinstance(digest, str) or not (signed is None or isinstance(signed, dict)):
                raise malformed("`digest` is text, `attestation` a bundle or missing")
            embargo = body.get("not_before", 0)
            if not (embargo is None or isinstance(embargo, str)):
                raise malformed("`not_before` is missing: when the embargo ends that you saw, or null for none")
            data = None if signed is None else json.dumps(signed, separators=(",", ":")).encode() + b"\n"
            done = await threaded(
                approving.approve, registry, account, proposal_id, digest=digest, signed=data, embargo=embargo or "",
                proved=access_tokens.is_fresh(account),
            )  # fmt: skip
            facts = {"approvals": done.approvals, "needed": done.needed, "commit": done.revision}
            return {"id": proposal_id, "repository": seen.proposal.full_name, "answer": "approved", **facts}
        case "decline":
            reason = body.get("reason")
            if not isinstance(reason, str):
                raise malformed("`reason` must be text: who proposed the release reads it")
            await threaded(reviewing.decline, registry, account, proposal_id, reason=reason)
            return {"id": proposal_id, "repository": seen.proposal.full_name, "answer": "declined"}
        case "embargo":
            moved = await threaded(embargoes.change, registry, account, proposal_id, until=body.get("until"))
            times = {"not_before": moved.not_before, "before": moved.before, "approvals": moved.approvals}
            return {"id": proposal_id, "repository": seen.proposal.full_name, "answer": "embargo", **times}
    raise malformed("`answer` is approve, decline or embargo")


def to_json(seen: Seen) -> dict[str, Any]:
    """A proposal as data."""
    found = seen.proposal
    return {
        "id": found.id, "repository": found.full_name, "branch": found.branch, "parent": found.parent,
        "version": found.version, "digest": found.digest, "title": found.title, "message": found.message,
        "proposed_by": found.author, "proposed": found.created, "state": found.state, "needed": seen.needed,
        "signed": seen.signed,
        "not_before": found.not_before, "decided": found.decided, "reason": found.reason or None,
        "commit": found.revision_id,
        "files": {entry.path: {"sha256": entry.digest, "size": entry.size} for entry in seen.files},
        "approvals": [
            {"approver": given.approver, "kind": given.kind, "date": given.created, "digest": given.digest,
             "fingerprint": given.fingerprint or None}
            for given in seen.approvals
        ],
    }  # fmt: skip


ROUTES = [
    Route(PATH, queue),
    Route(PATH + "/{proposal}", one, methods=["GET", "POST"]),
    Route(PATH + "/{proposal}/links", links, methods=["GET", "POST"]),
    Route(PATH + "/{proposal}/links/{link}", link, methods=["DELETE"]),
    Route(PATH + "/{proposal}/files/{path:path}", file),
]
