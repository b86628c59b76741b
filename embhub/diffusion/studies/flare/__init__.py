"""NVIDIA FLARE as the carrier of a study: `carrier` in its processes, `network` to set one up and run a study over it.

FLARE connects sites outwards to the coordinator by mutual TLS and brings tasks; what a task says is for
`embhub.study.tasks`. A site's policy lists one class that a job may name, and refuses code within jobs.
"""
