"""What differential privacy costs, as pure functions: no torch, no state, so that a registry recomputes every claim."""
