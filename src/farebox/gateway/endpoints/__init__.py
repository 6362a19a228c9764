"""One file an endpoint; the registry lists them."""
