"""The site's privacy ledger: what every training has spent, for each patient. Start with `budget`.

`chain` is the sealed file, `spending` its entries. Nothing of it leaves the site but what `site_total` bounds. It
may import `privacy`, `artifact`, `release` and `site`.
"""
