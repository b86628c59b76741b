"""What a member does besides pull and push: `joining`, `access`, `reviewing`, `evaluating`, `erasing`."""
