"""Adapting a component of a base to local images: denoiser, text encoders or the autoencoder's decoder.

Chambon et al. 2022 (arXiv 2210.04133) asked which component of Stable Diffusion to adapt to medical images; this is
how a site asks it of its own. What comes out is a base, not an embedding: no audit and no privacy claim covers it.
`base_training` makes a small base from nothing, of public images. Two modules make files to publish instead: `compact`
an adapter, `porting` an embedding for another base.
"""
