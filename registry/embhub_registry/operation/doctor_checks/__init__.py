"""What `embhub-registry doctor` looks at."""
