"""The embedding of real chest X-rays that comes with embhub, and the program that made it (`make`)."""
