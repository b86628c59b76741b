"""How fast embhub is beside what people would use without it: `python -m bench`, peers in the same run."""

from embhub import own_process

own_process.settle()  # before its modules load torch
