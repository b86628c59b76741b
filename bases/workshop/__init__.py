"""Makes and measures the built-in bases: `python -m bases.workshop.run`, `python -m bases.workshop.measure`."""
