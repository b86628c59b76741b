"""What pages and commands for the operator say of a registry."""
