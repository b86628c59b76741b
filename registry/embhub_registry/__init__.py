"""The registry: a server on the Hugging Face Hub's wire that stores what it could verify and nothing else."""

__version__ = "0.1.0"
