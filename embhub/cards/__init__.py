"""The parts of the card: its fields, its draft, its page, and the signs of personal data in it."""
