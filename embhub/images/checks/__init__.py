"""What an image's header says against learning from it."""
