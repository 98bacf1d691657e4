"""`gateway quality`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.common import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigPath,
    Url,
    fail,
    print_json,
    print_line,
    read_admin,
    reading_answer,
    settings_or_exit,
)

if TYPE_CHECKING:
    from gateway.config import DestinationSettings, Settings
    from gateway.model import JsonObject
    from gateway.telemetry import Coverage

MAX_SENTENCE = 200
"""Characters of a sentence of Meta that are shown."""


def quality(
    config: ConfigPath = DEFAULT_CONFIG,
    url: Url = None,
    destination: Annotated[str | None, typer.Option(help="Only this destination.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show how well events can be matched to people, and how to improve it.

    For each destination: the share of events that have each match key and the values that were dropped, since the
    gateway started; advice, that with the most effect first; and Meta's own scores of each dataset, from 0 to 10, with
    its recommendations. Meta is asked at most every 15 minutes.
    """
    settings = settings_or_exit(config) if url is None else None
    coverage_answer = read_admin(settings, url, "/status", {})
    quality_answer = read_admin(settings, url, "/quality", {})
    with reading_answer():
        coverages = {name: _coverage(each) for name, each in coverage_answer["coverage"].items()}
        datasets = quality_answer["datasets"]
        names = list(dict.fromkeys([*coverages, *(dataset["destination"] for dataset in datasets)]))
        if destination is not None and destination not in names:
            fail(f"--destination: unknown destination {destination!r}; expected one of {', '.join(names)}", 2)
        reports = [
            _report(name, coverages.get(name), datasets, _settings_of(settings, name))
            for name in names
            if destination in {None, name}
        ]
        if as_json:
            print_json({"destinations": reports}, indent=2)
        else:
            for report in reports:
                _print(report)


def _coverage(answer: JsonObject) -> Coverage:
    from gateway.telemetry import Coverage, KeyCoverage

    keys = {name: KeyCoverage(each["present"], each["dropped"]) for name, each in answer["keys"].items()}
    return Coverage(answer["events"], keys, answer["notes"], answer["left_out"])


def _settings_of(settings: Settings | None, name: str) -> DestinationSettings:
    """The settings of a destination; where they are not known, with default values."""
    from gateway.config import DestinationSettings, Secret
    from gateway.model import Dialect

    known = settings.destinations.get(name) if settings is not None else None
    return known or DestinationSettings.model_construct(
        api=Dialect.CONVERSIONS, access_token=Secret(""), standard_to_event_sets={}
    )


def _report(
    name: str, coverage: Coverage | None, datasets: list[JsonObject], destination: DestinationSettings
) -> JsonObject:
    """What is shown of one destination."""
    from gateway.cli.plain import plain
    from gateway.console.advice import advise, label_of, ordered

    keys = coverage.keys if coverage is not None else {}
    events = coverage.events if coverage is not None else 0
    return {
        "destination": name,
        "events": events,
        "keys": [
            {
                "key": key,
                "label": label_of(key),
                "share": keys[key].present / events if events else None,
                "dropped": dict(keys[key].dropped),
            }
            for key in ordered(keys)
        ],
        "advice": [
            {"sentence": plain(each.sentence), "share": each.share, "effect": each.effect, "setting": each.setting}
            for each in advise(coverage, destination)
        ],
        "datasets": [
            {key: value for key, value in each.items() if key != "destination"}
            for each in datasets
            if each["destination"] == name
        ],
    }


def _print(report: JsonObject) -> None:
    from gateway.cli.plain import percent
    from gateway.mapping.coverage import CAUSES

    events = report["events"]
    print_line(f"{report['destination']}: {events:,} events since the start")
    for key in report["keys"] if events else ():
        if not key["share"] and not key["dropped"]:
            continue
        dropped = [
            f"{percent(count / events)} dropped: {CAUSES.get(cause, cause)}" for cause, count in key["dropped"].items()
        ]
        print_line("  ".join([f"  {key['label']:<24} {percent(key['share']):>7}", *dropped]))
    absent = [key["label"] for key in report["keys"] if not key["share"] and not key["dropped"]]
    if events and absent:
        print_line(f"  never present: {', '.join(absent)}")
    if report["advice"]:
        print_line("  advice:")
        for position, advice in enumerate(report["advice"], 1):
            print_line(f"    {position}. {advice['sentence']}")
    for dataset in report["datasets"]:
        _print_dataset(dataset)
    if not report["datasets"]:
        print_line("  Meta is not asked for its scores: console.quality is false")


def _print_dataset(dataset: JsonObject) -> None:
    from gateway.cli.plain import decimal

    print_line(f"  Meta's scores of dataset {dataset['event_set']}:")
    if dataset["error"] is not None:
        print_line(f"    {dataset['error']}")
    for event in dataset["offline"]:
        parts = [
            f"{part.replace('_', ' ')} {decimal(event[part]['score'])}"
            for part in ("match_key", "frequency", "freshness")
        ]
        print_line(f"    {event['event_name']}: {decimal(event['composite']['score'])} of 10 ({', '.join(parts)})")
        _print_recommendations(event)
    for event in dataset["web"]:
        score = decimal(event["composite"]["score"])
        print_line(f"    {event['event_name']} (website): {score} of 10")
    if dataset["error"] is None and not dataset["offline"] and not dataset["web"]:
        print_line("    none yet; Meta rates the events of the last 28 days")
    if counts := dataset["counts"]:
        named = {"valid": "valid", "matched": "matched", "duplicate": "duplicate"}
        texts = [f"{counts[name]:,} {label}" for name, label in named.items() if counts[name] is not None]
        if texts:
            print_line(f"    Meta's counts: {', '.join(texts)}")


def _print_recommendations(event: JsonObject) -> None:
    """Meta's recommendations, those for the lowest score first."""
    scores: list[dict[str, Any]] = [event[part] for part in ("composite", "match_key", "frequency", "freshness")]
    advised = [each for each in scores if each["recommendation"]]
    for each in sorted(advised, key=lambda each: each["score"] if each["score"] is not None else 10.0):
        print_line(f"      {each['recommendation'][:MAX_SENTENCE]}")
