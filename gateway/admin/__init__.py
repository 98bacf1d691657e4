"""The HTTP face for operators."""
