"""The HTTP face for senders."""
