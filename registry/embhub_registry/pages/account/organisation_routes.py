"""The addresses of the pages about workloads, notifications and members."""

from __future__ import annotations

from starlette.routing import Route

from embhub_registry.pages.account import member_pages, notification_pages, publisher_pages

ROUTES = [
    Route(member_pages.HERE, member_pages.members),
    Route(notification_pages.HERE, notification_pages.show),
    Route(publisher_pages.HERE, publisher_pages.publishers),
    Route("/account/members/offboard", member_pages.offboard, methods=["POST"]),
    Route("/account/notifications/mail", notification_pages.choose_mail, methods=["POST"]),
    Route("/account/notifications/webhooks", notification_pages.add_webhook, methods=["POST"]),
    Route("/account/notifications/webhooks/{what}", notification_pages.change_webhook, methods=["POST"]),
    Route("/account/publishers/add", publisher_pages.add, methods=["POST"]),
    Route("/account/publishers/end", publisher_pages.end, methods=["POST"]),
]
