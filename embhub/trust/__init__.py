"""Signatures: envelopes, statements, bundles, and the keyring that says who may sign what. Start with `keyring`.

Pure: no file, socket or clock. May import `formats` and the ground modules.
"""
