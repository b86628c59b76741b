"""A site's images: found, read, checked, split by patient. Imports no torch. Start with `images`.

`manifest` lists them, `readers/` open hospital formats, `inspections/` report on a folder before any training,
`c2pa_manifests/` sign generated images. May import the core, and the client for the site's keys; nothing of
`embhub.diffusion`.
"""
