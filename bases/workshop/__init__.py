"""How the built-in bases are made: no part of the installed package, run from a checkout of the source."""
