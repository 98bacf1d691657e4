"""`gateway trace`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.common import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigPath,
    Url,
    print_json,
    print_line,
    read_admin,
    reading_answer,
    settings_or_exit,
)

if TYPE_CHECKING:
    from gateway.admin.trace import EventStory
    from gateway.console.pages.event import Story
    from gateway.model import DeadLetter, JsonObject
    from gateway.trace import TraceResult


def trace(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="Message ID or order ID.")],
    config: ConfigPath = DEFAULT_CONFIG,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show what happened to an event or an order.

    For each destination and dataset: when it was received, whether it is waiting and why, when Meta accepted it and in
    which call (with Meta's trace ID), or why it became a dead letter and what to do. Exit status 1 if no event with the
    ID is known; the output then says since when events are recorded, and in which times some were not.
    """
    settings = settings_or_exit(config) if url is None else None
    answer = read_admin(settings, url, "/trace", {"id": identifier})
    with reading_answer():
        found = _found(answer)
        if as_json:
            for letter in answer["dead_letters"]:
                letter.pop("event", None)
            print_json(answer, indent=2)
        else:
            import time

            from gateway.console.pages.event import sentence_of, stories_of

            shows_ids = settings.console.show_ids if settings is not None else True
            stories = stories_of(found, shows_ids=shows_ids, now=time.time())
            print_line(_plain(sentence_of(stories)))
            for story in stories:
                _print_story(story)
            _print_completeness(found.trace, is_known=bool(stories))
        raise SystemExit(0 if found.trace.events or found.dead_letters else 1)


def _found(answer: JsonObject) -> EventStory:
    """The answer of `/trace` as values."""
    from gateway.admin.trace import EventStory
    from gateway.runtime.wire import decode
    from gateway.trace import TraceResult

    letters = [(each["number"], _dead_letter(each)) for each in answer["dead_letters"]]
    return EventStory(str(answer["id"]), decode(TraceResult, answer), letters)


def _dead_letter(each: JsonObject) -> DeadLetter:
    from gateway.model import DeadLetter, Lane, MetaFault, Stage

    event_set, meta = each["event_set"], each["meta"]
    return DeadLetter(
        stage=Stage(each["stage"]),
        code=each["code"],
        message=each["message"],
        destination=each["destination"],
        source=each["source"],
        lane=None if event_set is None else Lane(each["destination"], event_set, each["upload_tag"]),
        at=each["at"],
        attempts=each["attempts"],
        fault=None if meta is None else MetaFault(**meta),
        event=None,
        message_id=each["message_id"],
        order_id=each["order_id"],
    )


def _print_story(story: Story) -> None:
    from gateway.cli.plain import utc

    target = f"{story.destination}, dataset {story.event_set}" if story.event_set else story.destination
    print_line("")
    print_line(f"{story.fate.value}: {target}")
    for step in story.steps:
        text = story.sentence if story.sentence.startswith(step.text.rstrip(".")) else step.text
        print_line(f"  {utc(step.at) if step.at is not None else 'now':<24} {_plain(text)}")
    if story.action:
        print_line(f"  {_plain(story.action)}")
    ids = {"order ID": story.order_id, "message ID": story.message_id, "Meta's trace ID": story.meta_trace_id}
    for name, value in ids.items():
        if value is not None:
            print_line(f"  {name}: {value}")
    if story.attempts > 1:
        print_line(f"  calls: {story.attempts}")
    if story.letter is not None:
        print_line(f"  dead letter {story.letter}: see `gateway dead-letters show {story.letter}`")


def _print_completeness(result: TraceResult, *, is_known: bool) -> None:
    """Say what the answer cannot know."""
    from gateway.cli.plain import utc

    if not result.is_enabled:
        print_line("Accepted events are not traced (console.trace_days is 0); only dead letters are found.")
    elif not is_known and result.recorded_since is not None:
        print_line(f"Events are recorded since {utc(result.recorded_since)}.")
    elif not is_known:
        print_line("No event has been recorded yet.")
    if result.failure is not None:
        print_line(f"The trace cannot be used: {result.failure}")
    for gap in result.gaps if not is_known else ():
        events = f"{gap.events:,} events" if gap.events else "some events"
        print_line(f"From {utc(gap.since)} to {utc(gap.until)}, {events} were not recorded.")
    if result.is_cut:
        print_line("There are more events with this ID than are shown.")


def _plain(text: str) -> str:
    from gateway.cli.plain import plain

    return plain(text)
