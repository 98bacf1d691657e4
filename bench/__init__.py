"""What the gateway does a second, each figure as a ratio to a floor that was measured beside it in the same run."""
