"""The two engines: SQLite and PostgreSQL, what is different between them, and moving from one to the other."""
