"""The embedding file: its header, its tensors, and the fingerprint of the base it belongs to. Start with `embedding`.

May import `formats`, `privacy` and the ground modules (`errors`, `durable`, ...).
"""
