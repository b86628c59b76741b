"""Every test here has a site of its own and may use a tiny base."""

from tests.support.sandbox import base, home, shorter_self_test

__all__ = ["base", "home", "shorter_self_test"]
