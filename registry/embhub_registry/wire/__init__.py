"""The Hugging Face Hub's routes and our own under /embhub/v1. Start with `hf_api` and `request_context`.

Handlers read a request, call a use case and shape the answer; they decide nothing.
"""
