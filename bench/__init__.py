"""How fast embhub is beside what people would use without it: `python -m bench`, peers in the same run."""
