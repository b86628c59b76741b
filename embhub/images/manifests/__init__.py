"""Which images, whose, and what they show: folders, manifests, volumes files."""
