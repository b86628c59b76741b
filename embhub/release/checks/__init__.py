"""The steps of verification: who signed, whether everything agrees, whether it was yanked. Pure functions.

`embhub.release.verification` calls them in order; each raises a refusal or returns findings.
"""
