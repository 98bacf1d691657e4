"""`python -m gateway.workers DESCRIPTOR`: what the supervisor starts; nothing for a user."""

from gateway.workers.worker import main

raise SystemExit(main())
