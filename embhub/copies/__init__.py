"""Is a drawn image a copy of a training image? What is decided from distances, and how a site reads it."""
