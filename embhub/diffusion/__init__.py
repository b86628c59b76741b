"""Training, auditing and using embeddings: the only part of embhub that imports torch and diffusers."""

from __future__ import annotations

import os

# Threads that spin while they wait starve each other on a busy machine; read when
# torch is loaded, so it has to stand here.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
