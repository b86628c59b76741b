"""NVIDIA FLARE as the carrier of a study: `kits` with certificates, `network` to talk over, `relay` at a site.

Of FLARE a study takes certificates and cells, which connect sites outwards to the coordinator by mutual TLS and carry
one kind of message. FLARE's jobs, with what they may name, bring and do at a site, are not used. What a message says is
for `embhub.study.tasks`.
"""
