"""The transparency log as a client reads, compares and remembers it: `logged` first, for one release."""
