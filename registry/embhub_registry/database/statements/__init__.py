"""Rows of what is signed about a release: audits, designs, evaluations, proposals, ledgers."""
