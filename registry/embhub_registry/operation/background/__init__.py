"""What a server does by itself: deliveries, mail, signing the log, expiry."""
