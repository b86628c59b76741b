"""Files of other programs: reading them without running anything in them, and finding the rows."""
