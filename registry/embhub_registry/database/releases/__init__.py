"""Rows of repositories: commits, files, who may read them, search, counts."""
