"""A study: several sites learn one embedding, and each patient has one epsilon. Start with `grid`.

`grid` and `discrete_gaussian` make a site's sum whole numbers with a share of noise. No torch, no network, no disk. May
import `privacy`, `trust` and the ground modules.
"""
