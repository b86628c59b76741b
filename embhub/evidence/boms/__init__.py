"""A verified release as other people's inventories describe models: bills of materials, and results for the Hub.

Everything in them follows from card, header and audit report of a release that verified: `facts` is what all of them
say, `cyclonedx` and `spdx` are two formats, `hub_results` the Hub's. `ro_crate` describes the files of a release beside
them. `writing` puts all on a disk. The same release gives the same bytes in the same version of embhub. Nothing here
reads an image, a ledger or a clock.
"""
