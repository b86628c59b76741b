"""The parts of verification: who signed, whether everything agrees, and the reasons to refuse."""
