"""Training of small base models from nothing: autoencoder, denoiser, decoder, in resumable stages.

Start in `workbench`; `material` says what a base learns from. `embhub base train` and the workshop of the shipped bases
use it alike.
"""
