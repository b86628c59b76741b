"""What speaks to a registry: pull, push, countersign, pinned roots. Start with `pulling/pull` or `publishing/push`.

`wire/http_client` opens connections, and `publishing/hub_sending` writes to the public Hub by its own client.
May import everything of the core.
"""
