"""A site's images: found, read, checked, split by patient. Imports no torch. Start with `images`.

`manifest` lists them, `readers/` open hospital formats, `inspections/` report on a folder before any training. May
import the core below the client; nothing of `embhub.diffusion`.
"""
