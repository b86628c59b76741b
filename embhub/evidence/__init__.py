"""The evidence pack: what a data-protection officer reads, keeps and signs before an embedding leaves the hospital.

Everything in it follows from the embedding's file, its card and its audit report. No image and no ledger is read, and
nothing of it is sent by `push`. docs/reference/evidence-pack.md describes it.
`boms` describes a release that verified for other people's inventories.
"""
