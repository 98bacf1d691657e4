"""Store sales through a gateway to the sandbox, watched live."""
