"""What an operator's tools read: health, metrics, traces, syslog, exports of the audit log."""
