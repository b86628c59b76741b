"""Pages that list: releases, advisories, findings, trust, the feed."""
