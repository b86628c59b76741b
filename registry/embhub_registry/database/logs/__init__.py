"""Rows of the transparency log, the audit log, and the messages that go out."""
