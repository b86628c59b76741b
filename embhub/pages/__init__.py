"""HTML pages that embhub writes: the template environment, the base page and the stylesheet that all of them share.

A page is made in two steps: a pure function derives facts, and a template beside that function shows them. Templates
lie in the `templates` folder of the package whose page they are; start reading in `rendering`.
"""
