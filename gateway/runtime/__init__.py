"""Process management: workers and their supervisor, reload of the settings, maintenance, start and stop.

No event passes through this package. `gateway.app` connects it with the packages that process events.
"""
