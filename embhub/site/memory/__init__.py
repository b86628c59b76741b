"""What a site remembers: runs, releases, heads, patients under its key."""
