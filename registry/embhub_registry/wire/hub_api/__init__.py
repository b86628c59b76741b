"""The Hub's API, as huggingface_hub calls it."""
