"""The transparency log's formats: Merkle trees, tiles, signed notes, checkpoints, proofs, entries, witness policies.

Pure: bytes in, values out, no file, no socket and no clock. Start with `merkle` (RFC 6962) and `checkpoints`. It may
import `formats`, `refusals` and what is below. Nothing heavy: `embhub verify` loads it at each start.
"""
