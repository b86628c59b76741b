"""The intake sheet about somebody else's release."""
