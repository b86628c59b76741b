"""Does it help? A classifier taught with real images, with drawn ones beside them, and with drawn ones alone."""
