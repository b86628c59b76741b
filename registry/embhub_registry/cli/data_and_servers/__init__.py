"""Commands under "Data and servers"."""
