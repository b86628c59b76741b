"""What the pack says, section by section."""
