"""Whom we buy from: upstreams, channels, and the way to them."""
