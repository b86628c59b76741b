"""Two hospitals and a registry on one machine: the main job, played end to end through the public commands."""
