"""Programs that use embhub as its users do; every one is run by the tests."""
