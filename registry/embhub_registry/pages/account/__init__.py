"""Pages of people who logged in: account, organisation, reviews, quarantine, withdrawals."""
