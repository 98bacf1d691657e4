"""`import-rudderstack`: exports in every form become valid settings, and the report says what changes."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import app
from gateway.config import Settings
from gateway.config.loading import parse
from gateway.mapping import compile_mapper
from gateway.model import JsonObject

SECRET = "EAAB-never-to-be-seen"
NOW = 1_795_000_000
Import = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Import:
    """Import an export that is given as an object or as text."""

    def run(export: Any, *options: str) -> Result:
        file = tmp_path / "export.json"
        file.write_text(export if isinstance(export, str) else json.dumps(export))
        done = CliRunner().invoke(app, ["import-rudderstack", str(file), *options])
        assert SECRET not in done.output
        return done

    return run


def offline(**changes: Any) -> JsonObject:
    """A configuration of Facebook Offline Conversions."""
    return {
        "accessToken": SECRET,
        "eventsToStandard": [{"from": "Signup", "to": "Lead"}],
        "eventsToIds": [{"from": "Lead", "to": "102"}, {"from": "Purchase", "to": "114"}],
        **changes,
    }


def conversions(**changes: Any) -> JsonObject:
    """A configuration of Facebook Conversions."""
    return {"accessToken": SECRET, "datasetId": "114", "eventsToEvents": [{"from": "Sign Up", "to": "Lead"}], **changes}


def exported(config: JsonObject, name: str, kind: str, **changes: Any) -> JsonObject:
    """A whole destination."""
    return {"name": name, "config": config, "destinationDefinition": {"name": kind}, **changes}


def settings_of(done: Result) -> Settings:
    """The printed settings, with a value for each secret."""
    assert done.exit_code == 0, done.output
    tree = tomllib.loads(done.stdout)
    for number, source in enumerate(tree["sources"].values()):
        assert source["write_key"].keys() == {"env"}
        source["write_key"] = f"key-{number}"
    for destination in tree["destinations"].values():
        assert destination["access_token"].keys() == {"env"}
        destination["access_token"] = "token"
    return parse(tree)


def section(done: Result, title: str) -> str:
    """The rows of the report under a heading, each on one line."""
    lines = done.stderr.split(f"\n  {title}")[1].split("\n\n")[0]
    return " ".join(lines.split())


def test_the_settings_of_a_destination_for_offline_conversions_are_carried_over(run: Import) -> None:
    done = run(
        offline(
            eventsToStandard=[{"from": "Signup", "to": "Lead"}, {"from": "Signup", "to": "CompleteRegistration"}],
            eventsToIds=[{"from": "Lead", "to": "102"}, {"from": "CompleteRegistration", "to": 103}],
            categoryToContent=[{"from": 'toys "x"', "to": "hotel"}, {"from": 'toys "x"', "to": "product"}],
            valueFieldIdentifier="margin",
            limitedDataUSage=True,
            isHashRequired=False,
        )
    )

    destination = settings_of(done).destinations["facebook_offline_conversions"]
    assert destination.api == "conversions"
    assert destination.events_to_standard == {"Signup": ("Lead", "CompleteRegistration")}
    assert destination.standard_to_event_sets == {"Lead": ("102",), "CompleteRegistration": ("103",)}
    assert destination.category_to_content_type == {'toys "x"': "product"}  # RudderStack uses the last row
    assert (destination.value_field, destination.limited_data_usage, destination.hashing) == ("margin", True, False)
    for key in ("accessToken", "eventsToStandard", "eventsToIds", "valueFieldIdentifier", "isHashRequired"):
        assert key in section(done, "carried over")


def test_the_settings_of_a_destination_for_conversions_are_carried_over(run: Import) -> None:
    done = run(
        conversions(
            eventsToEvents=[{"from": "Sign Up", "to": "Lead"}, {"from": "Home", "to": "PageView"}],
            actionSource="website",
            categoryToContent=[{"from": "toys", "to": "product"}],
            limitedDataUSage=True,
            testDestination=True,
            testEventCode="TEST123",
            whitelistPiiProperties=[{"whitelistPiiProperties": "store_address"}, {"whitelistPiiProperties": "email"}],
        )
    )

    destination = settings_of(done).destinations["facebook_conversions"]
    assert destination.events_to_standard["Sign Up"] == ("Lead",)
    assert destination.events_to_standard["Lead"] == ("Lead",)
    assert {*destination.standard_to_event_sets.values()} == {("114",)}
    assert {"Purchase", "AddToCart", "Lead", "PageView"} <= destination.standard_to_event_sets.keys()
    assert (destination.action_source, destination.test_event_code) == ("website", "TEST123")
    assert destination.category_to_content_type == {"toys": "product"}
    assert destination.limited_data_usage
    assert destination.allow_properties == ("store_address",)
    assert "email: an identity is never sent" in section(done, "no counterpart")


def test_an_imported_destination_for_conversions_reads_the_paths_that_rudderstack_reads(run: Import) -> None:
    destination = settings_of(run(conversions())).destinations["facebook_conversions"]
    event = {
        "type": "track",
        "event": "Purchase",
        "messageId": "m-1",
        "traits": {"email": "a@example.com", "event_id": "e-1", "opt_out": True},
        "context": {"lead_id": "1234567890123456"},
        "properties": {"revenue": 5, "total": 9},
    }
    mapped = compile_mapper("store", destination).map(event, NOW)

    assert isinstance(mapped, list)
    body = json.loads(mapped[0].body)
    assert (body["event_name"], body["event_id"], body["opt_out"]) == ("Purchase", "e-1", True)
    assert body["user_data"]["lead_id"] == 1234567890123456
    assert body["custom_data"]["value"] == 5


def test_a_pixel_id_is_read_where_there_is_no_dataset_id(run: Import) -> None:
    config = conversions(pixelId="77")
    del config["datasetId"]

    assert settings_of(run(config)).destinations["facebook_conversions"].standard_to_event_sets["Purchase"] == ("77",)


@pytest.mark.parametrize("ids", ["114,115", "114, 115", "114 115", " 114;\n115 ,"])
def test_a_list_of_ids_in_one_row_is_split(run: Import, ids: str) -> None:
    done = run(offline(eventsToIds=[{"from": "Purchase", "to": ids}, {"from": "Purchase", "to": "115, 116"}]))

    [destination] = settings_of(done).destinations.values()
    assert destination.standard_to_event_sets == {"Purchase": ("114", "115", "116")}


def test_a_workspace_gives_each_destination_once_with_names_of_its_own(run: Import) -> None:
    shared = exported(offline(), "Meta (EU)", "FACEBOOK_OFFLINE_CONVERSIONS", id="1")
    workspace = {
        "sources": [
            {"name": "web", "type": "Javascript", "config": {}, "destinations": [shared]},
            {
                "name": "pos",
                "destinations": [
                    shared,
                    exported(conversions(), "Meta EU", "FACEBOOK_CONVERSIONS", id="2"),
                    exported({"pixelId": "1", "accessToken": SECRET}, "Pixel", "FACEBOOK_PIXEL", id="3"),
                    {"id": "4", "name": "Ünïcode", "type": "FACEBOOK_CONVERSIONS", "config": conversions()},
                ],
            },
        ]
    }
    done = run(workspace)

    assert [*settings_of(done).destinations] == ["meta_eu", "meta_eu_2", "n_code"]
    for variable in ("META_EU_WRITE_KEY", "META_EU_ACCESS_TOKEN", "META_EU_2_WRITE_KEY", "META_EU_2_ACCESS_TOKEN"):
        assert f'{{ env = "{variable}" }}' in done.stdout


def test_the_name_can_be_given(run: Import) -> None:
    done = run(conversions(), "--name", "shop")
    assert [*settings_of(done).destinations] == ["shop"]
    assert "SHOP_ACCESS_TOKEN" in done.stdout

    assert run(conversions(), "--name", "Shop!").exit_code == 2
    several = [
        exported(offline(), "a", "FACEBOOK_OFFLINE_CONVERSIONS"),
        exported(conversions(), "b", "FACEBOOK_CONVERSIONS"),
    ]
    assert run(several, "--name", "shop").exit_code == 2


def test_a_name_with_special_characters_stays_in_its_comment(run: Import) -> None:
    name = 'x"\n[server]\nport = 1\x7f'
    done = run(exported(offline(), name, "facebook_offline_conversions"))
    assert [*settings_of(done).destinations] == ["x_server_port_1"]
    assert settings_of(done).server.port == 8080


ONE_TRUST = {"provider": "oneTrust", "consents": [{"consent": "C0004"}, {"consent": ""}]}
KETCH = {"provider": "ketch", "consents": [{"consent": "ads"}, {"consent": "analytics"}]}
OWN = {"provider": "custom", "resolutionStrategy": "or", "consents": [{"consent": "ads"}, {"consent": "social"}]}
LEGACY_ONE_TRUST = [{"oneTrustCookieCategory": "C0004"}]
LEGACY_KETCH = [{"purpose": "ads"}, {"purpose": ""}]


@pytest.mark.parametrize(
    ("config", "provider", "categories", "resolution"),
    [
        ({"consentManagement": [ONE_TRUST]}, "oneTrust", ("C0004",), None),
        ({"consentManagement": {"web": [ONE_TRUST], "cloud": [ONE_TRUST], "ios": []}}, "oneTrust", ("C0004",), None),
        ({"consentManagement": {"web": [KETCH]}}, "ketch", ("ads", "analytics"), None),
        ({"consentManagement": {"web": [OWN]}}, "custom", ("ads", "social"), "or"),
        ({"oneTrustCookieCategories": LEGACY_ONE_TRUST}, "oneTrust", ("C0004",), "and"),
        ({"oneTrustCookieCategories": {"web": LEGACY_ONE_TRUST}}, "oneTrust", ("C0004",), "and"),
        ({"ketchConsentPurposes": LEGACY_KETCH}, "ketch", ("ads",), "or"),
        (
            {"consentManagement": {"web": [ONE_TRUST]}, "oneTrustCookieCategories": LEGACY_ONE_TRUST},
            *("oneTrust", ("C0004",), None),
        ),
    ],
)
def test_a_consent_rule_is_carried_over(
    run: Import, config: JsonObject, provider: str, categories: tuple[str, ...], resolution: str | None
) -> None:
    done = run(offline(**config))
    [destination] = settings_of(done).destinations.values()

    assert destination.consent is not None
    assert destination.consent.provider == provider
    assert destination.consent.categories == categories
    assert destination.consent.resolution == resolution
    assert "consent" not in section(done, "different in the uploads")


def test_several_consent_rules_become_the_strictest(run: Import) -> None:
    done = run(conversions(consentManagement={"web": [ONE_TRUST, OWN]}))
    [destination] = settings_of(done).destinations.values()

    assert destination.consent is not None
    assert destination.consent.provider is None
    assert destination.consent.categories == ("C0004", "ads", "social")
    assert destination.consent.resolution == "and"
    assert "no category of any may be denied" in section(done, "different in the uploads")


@pytest.mark.parametrize("empty", [{}, {"web": []}, {"web": [{"provider": "oneTrust", "consents": [{"consent": ""}]}]}])
def test_a_form_of_consent_that_was_never_filled_in_is_no_rule(run: Import, empty: JsonObject) -> None:
    done = run(offline(consentManagement=empty, oneTrustCookieCategories=[{"oneTrustCookieCategory": ""}]))
    [destination] = settings_of(done).destinations.values()
    assert destination.consent is None


@pytest.mark.parametrize(
    ("config", "row"),
    [
        (offline(eventsToStandard=[{"from": "A", "to": ""}]), "eventsToStandard[0] only one of from and to is set"),
        (offline(eventsToStandard=[{"from": "A", "to": "Search"}]), "'A' is mapped to Search, which has no ID"),
        (
            conversions(testEventCode="T1", testDestination=False),
            "testEventCode left out, because the test mode is off",
        ),
        (conversions(testDestination=True), "testDestination the test mode is on, but there is no testEventCode"),
        (conversions(removeExternalId=True), "removeExternalId the gateway always sends the external ID"),
        (
            conversions(eventFilteringOption="whitelistedEvents", whitelistedEvents=[{"eventName": "A"}]),
            "eventFilteringOption the gateway does not filter by name",
        ),
        (
            conversions(blacklistPiiProperties=[{"blacklistPiiProperties": "cpf", "blacklistPiiHash": True}]),
            "RudderStack hashes the property 'cpf'; the gateway sends it as it is",
        ),
        (
            conversions(blacklistPiiProperties=[{"blacklistPiiProperties": "client_ip", "blacklistPiiHash": True}]),
            "'client_ip' is left out of custom_data, because its name looks personal",
        ),
        (conversions(someNewKey=1), "someNewKey not used by the gateway"),
    ],
)
def test_the_report_lists_what_has_no_counterpart(run: Import, config: JsonObject, row: str) -> None:
    assert row in section(run(config), "no counterpart")


@pytest.mark.parametrize(
    ("config", "row"),
    [
        (offline(), "isHashRequired it is not set: RudderStack then hashes nothing"),
        (offline(valueFieldIdentifier="properties.price"), "value RudderStack reads properties.price below properties"),
        (offline(), "birthday RudderStack sends the same hash for every birthday"),
        (conversions(actionSource="website"), "rejected (website_incomplete)"),
        (conversions(actionSource="app"), "rejects an event without (app_incomplete)"),
        (conversions(), "an event without one has the gateway's default, physical_store"),
        (conversions(), "other events RudderStack sends an event that is not mapped under its own name"),
    ],
)
def test_the_report_lists_what_will_be_different(run: Import, config: JsonObject, row: str) -> None:
    assert row in section(run(config), "different in the uploads")


def test_keys_that_a_form_leaves_empty_are_not_reported(run: Import) -> None:
    empty = {"eventFilteringOption": "disable", "whitelistedEvents": [{"eventName": ""}], "removeExternalId": False}
    assert section(run(conversions(**empty)), "no counterpart") == ": nothing"


def test_a_value_field_below_properties_gets_its_whole_path(run: Import) -> None:
    [destination] = settings_of(run(offline(valueFieldIdentifier="cart.total"))).destinations.values()
    assert destination.value_field == "properties.cart.total"


@pytest.mark.parametrize(
    ("export", "error"),
    [
        (
            offline(eventsToIds=[{"from": "Lead", "to": "1"}, {"from": "Lead", "to": "1 x2"}]),
            "eventsToIds[1].to: invalid",
        ),
        (offline(eventsToIds=[]), "eventsToIds: missing; expected at least one standard event"),
        (offline(eventsToIds="114"), "eventsToIds: invalid value '114'; expected a list"),
        (offline(limitedDataUSage="yes"), "limitedDataUSage: invalid value 'yes'; expected true or false"),
        (
            offline(valueFieldIdentifier="{{ event.x || 1 }}"),
            "valueFieldIdentifier: '{{ event.x || 1 }}' is a template",
        ),
        (offline(valueFieldIdentifier=["x"]), "valueFieldIdentifier: invalid value (a list); expected a string"),
        (offline(valueFieldIdentifier="a\ud800"), "surrogates not allowed"),
        (
            offline(eventsToStandard=["x"]),
            "eventsToStandard[0]: invalid value 'x'; expected an object with from and to",
        ),
        (offline(consentManagement=[OWN | {"resolutionStrategy": "x"}]), "consentManagement[0].resolutionStrategy"),
        (conversions(datasetId=""), "datasetId: missing; expected the ID of a dataset"),
        (conversions(datasetId="env.DATASET"), "datasetId: 'env.DATASET' is a template"),
        (conversions(actionSource="shop"), "actionSource: invalid value 'shop'; expected one of email, "),
        (
            {"destinations": [exported(conversions(datasetId="x"), "a", "FACEBOOK_CONVERSIONS")]},
            "destinations[0].config.datasetId: invalid value 'x'; expected the ID of a dataset: digits only",
        ),
        ("{", "invalid JSON"),
        ({}, "no destination of type Facebook Offline Conversions or Facebook Conversions"),
        (exported({"pixelId": "1"}, "a", "FACEBOOK_PIXEL"), "found FACEBOOK_PIXEL"),
        ([1], "no destination of type"),
    ],
)
def test_an_error_names_the_file_and_the_key(run: Import, tmp_path: Path, export: Any, error: str) -> None:
    done = run(export)

    assert done.exit_code == 1
    assert done.stdout == ""
    assert str(tmp_path / "export.json") in done.stderr
    assert error in done.stderr
