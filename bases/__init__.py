"""The built-in bases: `embhub_bases` holds their weights, `workshop` the programs that make and measure them."""
