"""Batches to Meta, paced, retried, split and settled."""
