"""With EMBHUB_TEST_DATABASE and EMBHUB_TEST_BLOBS, clients meet PostgreSQL and S3, as in tests/registry."""

from __future__ import annotations

from tests.registry.conftest import chosen_database as chosen_database
from tests.registry.conftest import every_registry_in_s3 as every_registry_in_s3
from tests.registry.conftest import object_store as object_store
from tests.registry.conftest import postgresql as postgresql
