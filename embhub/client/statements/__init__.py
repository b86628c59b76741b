"""What others state of a release, and what a site remembers of it: `reports`, `standing`, `memory`."""
