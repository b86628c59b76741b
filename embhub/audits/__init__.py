"""The parts of the audit report: estimators, figures, verdict, page."""
