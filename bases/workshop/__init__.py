"""Makes and measures the built-in bases: `python -m bases.workshop.train`, `python -m bases.workshop.measure`."""
