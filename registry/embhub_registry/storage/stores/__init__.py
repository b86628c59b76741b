"""Content-addressed files, in a folder or in the database."""
