"""Rows about accounts and how they get in: tokens, sessions, invitations, logins of devices and of jobs."""
