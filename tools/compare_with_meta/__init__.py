"""Comparison of the match keys that the gateway sends with those of Meta's own libraries."""
