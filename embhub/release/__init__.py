"""A release: its files, how it is signed, and the decision whether to use it. Start with `verification`.

`check_*` are the steps of that decision, pure functions; `policy` holds what a consumer may demand beyond it. It
may import everything below the client.
"""
