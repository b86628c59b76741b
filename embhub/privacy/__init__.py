"""Privacy claims and the accounting behind them. Start with `claim`, then `rdp` and `loss_distribution`.

Pure functions without torch or state, so that a registry recomputes every claim. May import `audits` (estimators only)
and the ground modules.
"""
