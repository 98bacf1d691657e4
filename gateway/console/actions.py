"""What an operator can do: probe stopped lanes, replay and delete dead letters. Each is a line in the audit log."""

from __future__ import annotations

from urllib.parse import urlencode

from gateway.admin import audit
from gateway.admin.dead_letters import FILTER_PARAMETERS, parse_filter, run_action
from gateway.console.notices import with_notice
from gateway.console.view import Redirect, Services, Visit


async def resume(services: Services, visit: Visit) -> Redirect:
    """Probe the stopped and delayed lanes of a destination, or of one dataset, now."""
    destination = visit.form.get("destination") or None
    event_set = visit.form.get("event_set") or None
    lanes = await services.gateway.resume(destination, event_set)
    audit.record(
        visit.viewer.identity, "resume", count=lanes, destination=destination, event_set=event_set, via="console"
    )
    return Redirect(with_notice(f"/destinations/{destination}" if destination else "/", "resumed", lanes))


async def replay(services: Services, visit: Visit) -> Redirect:
    """Process the dead letters that were previewed again."""
    return await _act(services, visit, "replay", "replayed")


async def discard(services: Services, visit: Visit) -> Redirect:
    """Delete the dead letters that were previewed."""
    return await _act(services, visit, "discard", "discarded")


async def _act(services: Services, visit: Visit, action: str, notice: str) -> Redirect:
    given = {name: value for name, value in visit.form.items() if name in FILTER_PARAMETERS and value}
    where = parse_filter(given)
    async with services.acting:
        result = await run_action(services.gateway.dead_letters, action, where)
    audit.record(visit.viewer.identity, action, count=result["letters"], via="console", **audit.describe_filter(where))
    shown = {name: value for name, value in given.items() if name != "until"}
    location = f"/problems/letters?{urlencode(shown)}" if shown else "/problems/letters"
    return Redirect(with_notice(location, notice, int(result["letters"])))
