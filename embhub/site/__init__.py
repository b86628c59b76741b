"""What a site keeps and where: files beside an embedding, pinned roots, memory of releases, accounts."""
