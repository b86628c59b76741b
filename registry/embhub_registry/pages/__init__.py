"""The pages people look at, with their templates and static files. Start with `web` (addresses) and `page_facts`.

Facts come first, templates only show them; `?format=json` answers with the same facts.
"""
