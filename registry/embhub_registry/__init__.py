"""The registry: a server that speaks the Hugging Face Hub's wire, admits what it can verify and stores the rest nowhere."""

__version__ = "0.1.0"
