"""Every mistake in a settings file is named, with what it has and what it may have, and no secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import ConfigError, Settings, load, parse
from gateway.model import JsonObject

SECRET = "EAAB-never-to-be-seen"


def tree(**changes: object) -> JsonObject:
    """The smallest settings that can be used."""
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


def test_the_smallest_settings_are_enough() -> None:
    assert isinstance(parse(tree()), Settings)


def test_a_file_with_ten_mistakes_names_all_ten(tmp_path: Path) -> None:
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

    said = {fault.key: fault.message for fault in caught.value.faults}
    assert said["server.prot"] == "is not a setting; was port meant?"
    assert said["server.port"].startswith("has 'eighty'; it should be a valid integer")
    assert said["server.drain_delay"] == "has -1; it should be greater than or equal to 0"
    assert said["admin.port"] == "has 70000; it should be less than or equal to 65535"
    assert said["spool.engine"] == "has 'redis'; it should be 'sqlite' or 'memory'"
    assert said["spool.max_bytes"] == 'may be a size in bytes such as 4194304 or "4MiB"'
    assert said["sources.shop.write_key"] == "is missing"
    assert said["sources.shop.destinations"] == "names elsewhere; known are: store"
    assert said["destinations.store.api"] == "has 'conversion'; it should be 'conversions' or 'offline'"
    assert said["destinations.store.access_token"] == "environment variable NO_SUCH_VARIABLE_AT_ALL is not set"
    assert said["destinations.store.upload.requests_per_secnd"] == "is not a setting; was requests_per_second meant?"
    assert len(said) == len(caught.value.faults) == 11
    assert all(line.startswith(f"{path}: ") for line in str(caught.value).splitlines())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, ["sources: is missing", "destinations: is missing"]),
        (tree(sources={}), ["sources: has a table; dictionary should have at least 1 item after validation, not 0"]),
        (tree(server=3), ["server: has 3; it should be a valid dictionary or instance of ServerSettings"]),
        (store(api=None), ["destinations.store.api: has None; it should be 'conversions' or 'offline'"]),
        (
            store(batch={"max_events": 2000}),
            ["destinations.store.batch: max_events has 2000, may have 1 to 1000 for conversions"],
        ),
        (
            tree(admin={"host": "0.0.0.0"}),
            ["admin.token: is demanded when admin.host is 0.0.0.0, not loopback"],
        ),
        (
            store(access_token={"env": "A", "file": "B"}),
            ['destinations.store.access_token: may be { env = "NAME" }, { file = "/path" } or a string'],
        ),
        (
            store(access_token={"file": "/no/such/file"}),
            ["destinations.store.access_token: file /no/such/file cannot be read: No such file or directory"],
        ),
        (store(access_token=""), ["destinations.store.access_token: the string is empty"]),
        (
            store(access_token=f"{SECRET} and more"),
            ["destinations.store.access_token: the string has spaces or control characters inside"],
        ),
        (
            store(upload={"graph_url": "https://user:pw@graph.facebook.com"}),
            ["destinations.store.upload.graph_url: may be an http or https URL without credentials, query or fragment"],
        ),
        (
            store(extra_fields={"e-mail": ["properties.mail"]}),
            ["destinations.store.extra_fields: has no field e-mail; was email meant?"],
        ),
    ],
)
def test_a_mistake_is_told_with_what_may_stand_there(settings: JsonObject, said: list[str]) -> None:
    assert faults(settings) == said


def test_two_sources_cannot_share_a_write_key_wherever_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_OF_THE_SHOP", "the-same")
    settings = tree()
    settings["sources"] = {
        "shop": {"write_key": {"env": "KEY_OF_THE_SHOP"}, "destinations": ["store"]},
        "till": {"write_key": "the-same", "destinations": ["store"]},
    }
    assert faults(settings) == ["sources.till.write_key: is that of sources.shop; every source has its own"]


def test_an_event_set_id_without_quotes_is_understood() -> None:
    settings = parse(store(standard_to_event_sets={"Purchase": [1148872185708962], "Lead": 5}))
    sets = settings.destinations["store"].standard_to_event_sets
    assert (sets["Purchase"], sets["Lead"]) == (("1148872185708962",), ("5",))


@pytest.mark.parametrize("text", ["[server", "a = 1\na = 2", "server = [[[", 'key = "\x00"'])
def test_what_is_no_toml_is_told_with_its_place(tmp_path: Path, text: str) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"is not TOML: .*\(at "):
        load(path, {})


def test_a_file_that_is_not_there_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file; name one with --config"):
        load(tmp_path / "none.toml", {})


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load(path, {})


def test_the_environment_lies_on_top_of_the_file() -> None:
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


def test_a_mistake_in_the_environment_is_told_like_one_in_the_file() -> None:
    assert faults(tree(), {"GATEWAY_SERVER__PRT": "1"}) == ["server.prt: is not a setting; was port meant?"]


def test_the_fields_that_may_have_more_paths_are_those_of_the_mapping() -> None:
    from gateway.config.settings import MAPPED_FIELDS
    from gateway.mapping.fields import BY_NAME

    assert sorted(MAPPED_FIELDS) == sorted(BY_NAME)


def test_no_secret_is_in_any_printed_form_of_the_settings() -> None:
    settings = parse(tree())
    assert SECRET not in f"{settings!r} {settings} {settings.destinations['store'].access_token!r}"
    assert SECRET not in str(settings.model_dump())


def test_a_secret_from_a_file_is_read_again_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    secret = parse(store(access_token={"file": str(path)})).destinations["store"].access_token
    path.write_text("second\n")
    assert (secret.reveal(), secret.reread().reveal()) == ("first", "second")
