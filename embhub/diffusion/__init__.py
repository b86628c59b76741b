"""Training, auditing and using embeddings: the only part of embhub that imports torch and diffusers."""
