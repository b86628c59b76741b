"""A study: several sites learn one embedding, and each patient has one epsilon. Start with `site`, then `coordinator`.

`grid` and `discrete_gaussian` make a site's sum whole numbers with a share of noise; `masking`, `shamir` and `wire`
hide it until it is summed. `answering` and `coordinating` make a whole study of such steps, and `folder` remembers what
was begun. No torch, no network: what leaves a site is bytes that an engine carries. May import `privacy`, `trust` and
the ground modules.
"""
