"""Loading of the settings: every error is reported with the value and the valid values, and no secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import ConfigError, Settings, load, parse
from gateway.model import JsonObject

SECRET = "EAAB-never-to-be-seen"


def tree(**changes: object) -> JsonObject:
    """The smallest valid settings."""
    return {
        "sources": {"shop": {"write_key": "wk", "destinations": ["store"]}},
        "destinations": {
            "store": {"api": "conversions", "access_token": SECRET, "standard_to_event_sets": {"Purchase": ["1"]}}
        },
        **changes,
    }


def faults(settings: JsonObject, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(settings, "gateway.toml", environ)
    assert SECRET not in str(caught.value)
    return [str(fault) for fault in caught.value.faults]


def store(**changes: object) -> JsonObject:
    settings = tree()
    settings["destinations"]["store"].update(changes)
    return settings


def test_the_smallest_settings_are_valid() -> None:
    assert isinstance(parse(tree()), Settings)


@pytest.mark.parametrize(
    ("server", "admin"),
    [({"port": 0}, {"port": 0}), ({"host": "127.0.0.1", "port": 9}, {"host": "127.0.0.2", "port": 9, "token": "t"})],
)
def test_the_servers_may_have_ports_that_do_not_clash(server: JsonObject, admin: JsonObject) -> None:
    assert isinstance(parse(tree(server=server, admin=admin)), Settings)


def test_all_errors_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(
        """
[server]
prot = 8080
port = "eighty"
drain_delay = -1
[admin]
port = 70000
[spool]
engine = "redis"
max_bytes = "ten gigs"
[sources.shop]
destinations = ["elsewhere"]
[destinations.store]
api = "conversion"
access_token = { env = "NO_SUCH_VARIABLE_AT_ALL" }
standard_to_event_sets = { Purchase = ["1"] }
upload.requests_per_secnd = 3
"""
    )
    with pytest.raises(ConfigError) as caught:
        load(path, {})

    assert {fault.key: fault.message for fault in caught.value.faults} == {
        "server.prot": "unknown setting; did you mean 'port'?",
        "server.port": "invalid value 'eighty'; expected an integer from 0 to 65535",
        "server.drain_delay": "invalid value -1; expected a number from 0 to 300",
        "admin.port": "invalid value 70000; expected an integer from 0 to 65535",
        "spool.engine": "invalid value 'redis'; expected 'sqlite' or 'memory'",
        "spool.max_bytes": "invalid value 'ten gigs'; expected a size in bytes such as 4194304 or \"4MiB\"",
        "sources.shop.write_key": "missing; this setting is required",
        "sources.shop.destinations": "unknown destination 'elsewhere'; defined are: store",
        "destinations.store.api": "invalid value 'conversion'; expected 'conversions' or 'offline'",
        "destinations.store.access_token": (
            "environment variable NO_SUCH_VARIABLE_AT_ALL is not set; expected a secret in it"
        ),
        "destinations.store.upload.requests_per_secnd": "unknown setting; did you mean 'requests_per_second'?",
    }
    assert len(caught.value.faults) == 11
    assert all(line.startswith(f"{path}: ") for line in str(caught.value).splitlines())


NAME = "expected a name of 1 to 64 letters, digits, '_', '-' and '.'"


@pytest.mark.parametrize(
    ("settings", "key", "message"),
    [
        (tree(sources={}), "sources", "invalid value {}; expected at least one entry"),
        (tree(sources={"a b": tree()["sources"]["shop"]}), "sources.a b", f"invalid name 'a b'; {NAME}"),
        (tree(server=3), "server", "invalid value 3; expected a table"),
        (tree(server={"port": 99999}), "server.port", "invalid value 99999; expected an integer from 0 to 65535"),
        (tree(server={"port": 1.5}), "server.port", "invalid value 1.5; expected an integer from 0 to 65535"),
        (
            tree(server={"read_timeout": 0}),
            "server.read_timeout",
            "invalid value 0; expected a number above 0, at most 600",
        ),
        (
            tree(server={"workers": "many"}),
            "server.workers",
            "invalid value 'many'; expected an integer from 1 to 64, or \"auto\"",
        ),
        (
            tree(spool={"max_bytes": 5}),
            "spool.max_bytes",
            "invalid value 5; expected a size in bytes of at least 1048576",
        ),
        (
            tree(admin={"host": "0.0.0.0"}),
            "admin.token",
            "missing; required because admin.host 0.0.0.0 is not a loopback address",
        ),
        (store(api=None), "destinations.store.api", "invalid value None; expected 'conversions' or 'offline'"),
        (store(hashing="perhaps"), "destinations.store.hashing", "invalid value 'perhaps'; expected true or false"),
        (
            store(upload_tag=""),
            "destinations.store.upload_tag",
            "invalid value ''; expected a string that is not empty",
        ),
        (
            store(standard_to_event_sets={"Purchase": ["my-pixel"]}),
            "destinations.store.standard_to_event_sets.Purchase[0]",
            "invalid value 'my-pixel'; expected the ID of an event set (dataset): digits only",
        ),
        (
            tree(server={"port": 9000}, admin={"port": 9000}),
            "admin",
            "port 9000 is also server.port; expected a different one",
        ),
        (
            store(crm=True),
            "destinations.store.lead_event_source",
            "missing; required because crm is true",
        ),
        (
            store(lead_event_source="HubSpot"),
            "destinations.store.lead_event_source",
            "only used with crm; set crm = true, or remove it",
        ),
        (
            store(consent={"categories": []}),
            "destinations.store.consent.categories",
            "invalid value []; expected at least one entry",
        ),
        (
            store(consent={"categories": ["C0004"], "resolution": "any"}),
            "destinations.store.consent.resolution",
            "invalid value 'any'; expected 'and' or 'or'",
        ),
        (
            store(batch={"max_events": 0}),
            "destinations.store.batch.max_events",
            "invalid value 0; expected an integer from 1 to 2000",
        ),
        (
            store(batch={"max_events": 2000}),
            "destinations.store.batch",
            "invalid value 2000 for max_events; expected an integer from 1 to 1000 when api is conversions",
        ),
        (
            store(upload={"graph_version": "25"}),
            "destinations.store.upload.graph_version",
            "invalid value '25'; expected a version such as v25.0",
        ),
        (
            store(upload={"graph_url": f"https://user:{SECRET}@graph.facebook.com"}),
            "destinations.store.upload.graph_url",
            "invalid value (not shown); expected an http or https URL without credentials, query and fragment",
        ),
        (
            store(access_token={"env": "A", "file": "B"}),
            "destinations.store.access_token",
            'invalid value (not shown); expected { env = "NAME" }, { file = "/path" } or a string',
        ),
        (
            store(access_token={"file": "/no/such/file"}),
            "destinations.store.access_token",
            "file /no/such/file cannot be read: No such file or directory",
        ),
        (store(access_token=""), "destinations.store.access_token", "the string is empty; expected a secret"),
        (
            store(access_token=f"{SECRET} and more"),
            "destinations.store.access_token",
            "the string contains spaces or control characters; expected a secret without them",
        ),
        (
            store(extra_fields={"e-mail": ["properties.mail"]}),
            "destinations.store.extra_fields",
            "unknown field 'e-mail'; did you mean 'email'?",
        ),
    ],
)
def test_an_error_names_the_key_the_value_and_the_valid_values(settings: JsonObject, key: str, message: str) -> None:
    assert faults(settings) == [f"{key}: {message}"]


def test_required_tables_that_are_missing_are_reported() -> None:
    assert faults({}) == [
        "sources: missing; this setting is required",
        "destinations: missing; this setting is required",
    ]


def test_an_invalid_entry_of_a_list_is_not_reported_as_an_empty_list_too() -> None:
    assert faults(tree(sources={"shop": {"write_key": "wk", "destinations": ["a b"]}})) == [
        f"sources.shop.destinations[0]: invalid value 'a b'; {NAME}",
        "sources.shop.destinations: unknown destination 'a b'; defined are: store",
    ]


def test_two_sources_cannot_share_a_write_key_even_if_one_is_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KEY_OF_THE_SHOP", "the-same")
    settings = tree()
    settings["sources"] = {
        "shop": {"write_key": {"env": "KEY_OF_THE_SHOP"}, "destinations": ["store"]},
        "till": {"write_key": "the-same", "destinations": ["store"]},
    }
    assert faults(settings) == [
        "sources.till.write_key: same write key as sources.shop; expected a different one for each source"
    ]


def test_an_event_set_id_may_be_written_without_quotes() -> None:
    settings = parse(store(standard_to_event_sets={"Purchase": [1148872185708962], "Lead": 5}))
    sets = settings.destinations["store"].standard_to_event_sets
    assert (sets["Purchase"], sets["Lead"]) == (("1148872185708962",), ("5",))


def test_the_error_for_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="file not found; give its path with --config"):
        load(tmp_path / "none.toml", {})


def test_a_file_that_is_not_utf_8_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="invalid byte at position 0; expected UTF-8 text"):
        load(path, {})


def test_the_environment_takes_precedence_over_the_file() -> None:
    environ = {
        "GATEWAY_SERVER__PORT": "9000",
        "GATEWAY_SERVER__HOST": "0.0.0.0",
        "GATEWAY_DESTINATIONS__STORE__BATCH__MAX_AGE": "2.5",
        "GATEWAY_DESTINATIONS__STORE__ACCESS_TOKEN": "12345",
        "GATEWAY_ADDRESS_FILE": "/not/a/setting",
        "UNRELATED__THING": "1",
    }
    settings = parse(tree(server={"port": 1}), "gateway.toml", environ)
    assert (settings.server.port, settings.server.host) == (9000, "0.0.0.0")
    assert settings.destinations["store"].batch.max_age == 2.5
    assert settings.destinations["store"].access_token.reveal() == "12345"


def test_an_error_in_the_environment_is_reported_like_one_in_the_file() -> None:
    assert faults(tree(), {"GATEWAY_SERVER__PRT": "1"}) == ["server.prt: unknown setting; did you mean 'port'?"]


def test_extra_fields_accepts_exactly_the_fields_of_the_mapping() -> None:
    from gateway.config.settings import MAPPED_FIELDS
    from gateway.mapping.fields import BY_NAME

    assert sorted(MAPPED_FIELDS) == sorted(BY_NAME)


def test_no_printed_form_of_the_settings_contains_a_secret() -> None:
    settings = parse(tree())
    assert SECRET not in f"{settings!r} {settings} {settings.destinations['store'].access_token!r}"
    assert SECRET not in str(settings.model_dump())


def test_reread_returns_the_current_secret_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    secret = parse(store(access_token={"file": str(path)})).destinations["store"].access_token
    path.write_text("second\n")
    assert (secret.reveal(), secret.reread().reveal()) == ("first", "second")


@pytest.mark.parametrize(
    ("admin", "expected"),
    [
        ({"read_token": SECRET}, "requires admin.token"),
        ({"token": SECRET, "read_token": SECRET}, "has the value of admin.token"),
    ],
)
def test_a_token_for_reading_needs_a_different_token_for_acting(admin: JsonObject, expected: str) -> None:
    [fault] = faults(tree(admin=admin))
    assert "admin.read_token" in fault
    assert expected in fault


def test_a_token_for_reading_beside_one_for_acting_is_valid() -> None:
    settings = parse(tree(admin={"token": SECRET, "read_token": "other"}))
    assert settings.admin.read_token is not None


def test_the_ids_of_a_trace_are_kept_for_a_week_unless_the_settings_say_otherwise() -> None:
    assert parse(tree()).console.trace_days == 7
    assert parse(tree(console={"trace_days": 0, "trace_max_bytes": "1MiB"})).console.trace_max_bytes == 2**20
    for wrong in ({"trace_days": 63}, {"trace_days": -1}, {"trace_max_bytes": "1KiB"}, {"pages": True}):
        assert len(faults(tree(console=wrong))) == 1
