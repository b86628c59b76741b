"""Commands under "Start"."""
