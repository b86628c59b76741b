"""Where a registry keeps its bytes: the folder, blobs, the audit log, settings, quotas. Start with `folder`.

May import `database` and the ground modules.
"""
