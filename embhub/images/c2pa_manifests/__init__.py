"""C2PA manifests of generated images: signed with a site's key, and verified by c2pa's own library.

Writing starts in `signing`, reading in `reading`. The library is an extra (`embhub[c2pa]`). Files of others are read in
a process of their own (`reader_process`), which has limits and can crash alone.
"""
