"""One file a payment company; the registry lists them."""
