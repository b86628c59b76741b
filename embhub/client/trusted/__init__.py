"""Whom a site trusts: pinned roots and how they change, mirrors, the site's policy. `roots` first."""
