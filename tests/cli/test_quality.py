"""`gateway quality`: coverage of match keys, advice in the order of its effect, and Meta's scores."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from gateway.meta import DatasetCounts, DatasetQuality, OfflineQuality, Score
from gateway.model import JsonObject
from tests.cli.conftest import FakeAdmin, Run, call
from tests.cli.test_status import answer
from tests.cli.test_terminal import HOSTILE, assert_harmless
from tests.console.console_port import DATASET

OFFLINE = OfflineQuality(
    "Purchase", Score(6.2, "Aim for more."), Score(4.0, "Send more phone numbers."), Score(10.0), Score(9.0)
)


def quality(*datasets: DatasetQuality) -> JsonObject:
    return {"datasets": [asdict(dataset) for dataset in datasets]}


def scored(text: str = "store") -> DatasetQuality:
    return DatasetQuality(text, DATASET, 1.0, [OFFLINE], counts=DatasetCounts(valid=1200, matched=900))


def test_it_shows_coverage_advice_by_effect_and_the_scores_of_meta(admin: FakeAdmin) -> None:
    admin.answers = {"/status": answer(), "/quality": quality(scored())}
    done = call("quality", "--url", admin.url)
    assert done.exit_code == 0, done.output
    shown = done.stdout.splitlines()
    assert shown[0] == "store: 48,312 events since the start"
    (email,) = [line for line in shown if line.startswith("  email ")]
    assert "85 %" in email
    assert "1 % dropped: No usable value of its kind." in email
    assert "  never present: mobile advertiser ID" in shown
    advice = [line.strip() for line in shown if line.startswith("    ") and line.strip()[:2] in {"1.", "2.", "3."}]
    assert advice[0].startswith("1. 41 % of the events have a phone number that is dropped: it has no calling code")
    assert "Set `default_country`" in advice[0]
    assert "    Purchase: 6.2 of 10 (match key 4, frequency 10, freshness 9)" in shown
    assert shown.index("      Send more phone numbers.") < shown.index("      Aim for more."), "the lowest score first"
    assert "    Meta's counts: 1,200 valid, 900 matched" in shown


def test_the_advice_knows_the_settings(run: Run, config: Path, admin: FakeAdmin) -> None:
    admin.answers = {"/status": answer(), "/quality": quality(scored())}
    port = admin.url.rpartition(":")[2]
    config.write_text(f'{config.read_text()}default_country = "US"\n[admin]\nport = {port}\n')
    done = run("quality")
    assert done.exit_code == 0, done.output
    assert "it does not fit the country" in done.stdout
    assert "Set `default_country`" not in done.stdout


def test_json_has_the_same_values(admin: FakeAdmin) -> None:
    admin.answers = {"/status": answer(), "/quality": quality(scored())}
    (store,) = json.loads(call("quality", "--json", "--url", admin.url).stdout)["destinations"]
    assert store["events"] == 48_312
    assert store["keys"][0] == {
        "key": "email",
        "label": "email",
        "share": pytest.approx(0.849, abs=0.001),
        "dropped": {"malformed": 500},
    }
    effects = [advice["effect"] for advice in store["advice"]]
    assert effects == sorted(effects, reverse=True)
    assert store["datasets"][0]["offline"][0]["composite"]["score"] == 6.2


def test_it_says_why_meta_gives_no_scores_and_that_it_is_not_asked(admin: FakeAdmin) -> None:
    refused = DatasetQuality("store", DATASET, 1.0, error="The access token may not read Meta's scores (code 10).")
    admin.answers = {"/status": answer(), "/quality": quality(refused)}
    assert "    The access token may not read Meta's scores (code 10)." in call("quality", "--url", admin.url).stdout
    admin.answers["/quality"] = quality()
    assert "console.quality is false" in call("quality", "--url", admin.url).stdout
    admin.answers["/quality"] = quality(DatasetQuality("store", DATASET, 1.0))
    assert "none yet" in call("quality", "--url", admin.url).stdout


def test_one_destination_can_be_chosen_and_an_unknown_one_is_an_error(admin: FakeAdmin) -> None:
    admin.answers = {"/status": answer(), "/quality": quality(scored(), scored("other"))}
    assert "store" not in call("quality", "--destination", "other", "--url", admin.url).stdout
    done = call("quality", "--destination", "nope", "--url", admin.url)
    assert done.exit_code == 2
    assert "unknown destination 'nope'; expected one of store, other" in done.stderr


def test_texts_of_meta_are_escaped(admin: FakeAdmin) -> None:
    hostile = OfflineQuality(HOSTILE, Score(1.0, HOSTILE))
    given = DatasetQuality("store", HOSTILE, 1.0, [hostile], error=HOSTILE)
    admin.answers = {"/status": answer(), "/quality": quality(given)}
    assert_harmless(call("quality", "--url", admin.url))


def test_an_answer_of_another_form_is_an_error_in_one_sentence(admin: FakeAdmin) -> None:
    admin.answers = {"/status": {"coverage": 7}, "/quality": {"datasets": []}}
    done = call("quality", "--url", admin.url)
    assert done.exit_code == 1
    assert "cannot be read" in done.stderr
