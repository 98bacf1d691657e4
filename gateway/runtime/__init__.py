"""Process concerns: workers and their supervisor, reload of the settings, maintenance, start and stop.

No event passes through this package; `gateway.app` wires it with the packages that events do pass through.
"""
