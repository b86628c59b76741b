"""With EMBHUB_TEST_DATABASE clients meet PostgreSQL, as in tests/registry."""

from __future__ import annotations

from tests.registry.conftest import chosen_database as chosen_database
from tests.registry.conftest import postgresql as postgresql
