"""Who asks: access tokens and how a person, a device or a workload logs in. `accounts` first."""
