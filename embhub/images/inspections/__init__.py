"""Parts of an inspection: its report, what lies beside images, what their files say, which resemble each other."""
