"""Columns: known exports, settings, and what becomes of the values."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from gateway.importer.convert import STANDARD_TO_SOURCE
from gateway.importer.plan import plan_import
from gateway.mapping.routes import BUILT_IN, STANDARD_EVENTS
from gateway.model import GatewayError
from tests.importer.files import HEADER, calls, codes, plan, problems, results, sale, write


def test_the_columns_of_metas_template_are_recognised(tmp_path: Path) -> None:
    header = (
        "email,email,phone,phone,madid,fn,ln,zip,ct,st,country,dob,gen,extern_id,lead_id,event_name,event_time,value,"
        "currency,order_id,item_number,action_source"
    )
    row = (
        "a@example.com,b@example.com,+12025550146,,a1b2,Alex,Smith,10001,New York,NY,US,1980-03-31,f,c-7,l:12,Purchase,"
        "2026-11-01T10:00:00Z,12.50,usd,o-1,i-1,physical_store"
    )
    (call,) = calls(write(tmp_path, row, header=header))
    assert call.pop("messageId").startswith("backfill-")
    assert call == {
        "type": "track",
        "event": "Order Completed",
        "userId": "c-7",
        "originalTimestamp": "2026-11-01T10:00:00+00:00",
        "context": {
            "device": {"advertisingId": "a1b2"},
            "externalId": [{"type": "LeadId", "id": "l:12"}],
            "traits": {
                "email": ["a@example.com", "b@example.com"],
                "phone": "+12025550146",
                "firstName": "Alex",
                "lastName": "Smith",
                "gender": "f",
                "birthday": "1980-03-31",
                "address": {"zip": "10001", "city": "New York", "state": "NY", "country": "US"},
            },
        },
        "properties": {
            "total": 12.5,
            "currency": "usd",
            "order_id": "o-1",
            "item_number": "i-1",
            "action_source": "physical_store",
        },
    }


def test_shopify_orders_are_recognised_and_further_lines_of_an_order_are_skipped(tmp_path: Path) -> None:
    header = (
        "Name,Email,Financial Status,Paid at,Currency,Total,Created at,Lineitem name,Billing Name,Billing Zip,"
        "Billing Country,Phone,Billing Phone"
    )
    name = write(
        tmp_path,
        "#1001,a@example.com,paid,2026-10-07 09:50:26 +0200,EUR,53.91,,Soap,Alex Smith,'75008,FR,,+33612345678",
        "#1001,a@example.com,,,,,,Towel,,,,,",
        "#1002,b@example.com,pending,,EUR,20.00,2026-10-07 10:00:00 +0200,Soap,Bo Lee,10115,DE,,",
        header=header,
    )
    first, *others = results(name)
    assert isinstance(first, dict)
    assert others == [None, None]
    assert first["event"] == "Order Completed"
    assert first["originalTimestamp"] == "2026-10-07T09:50:26+02:00"
    assert first["properties"] == {"total": 53.91, "currency": "EUR", "order_id": "#1001"}
    traits = first["context"]["traits"]
    assert traits["phone"] == "+33612345678"
    assert traits["address"] == {"zip": "75008", "country": "FR"}


def test_square_transactions_are_recognised_and_refunds_are_skipped(tmp_path: Path) -> None:
    header = "Date,Time,Time Zone,Total Collected,Transaction ID,Event Type,Customer ID,Customer Name"
    zone = "Eastern Time (US & Canada)"
    name = write(
        tmp_path,
        f'2026-10-07,14:05:06,{zone},"$1,053.91",t-1,Payment,c-1,Alex Smith',
        f"2026-10-07,14:06:00,{zone},($3.00),t-2,Refund,c-1,Alex Smith",
        header=header,
    )
    first, refund = results(name)
    assert isinstance(first, dict)
    assert refund is None
    assert first["originalTimestamp"] == "2026-10-07T14:05:06-04:00"
    assert first["properties"] == {"total": 1053.91, "order_id": "t-1"}
    assert first["userId"] == "c-1"


def test_salesforce_opportunities_are_recognised_and_open_ones_are_skipped(tmp_path: Path) -> None:
    header = "Opportunity ID,Stage,Amount,Amount Currency,Close Date,Email,First Name,Last Name,Mailing Zip/Postal Code"
    name = write(
        tmp_path,
        "006A,Closed Won,1200.00,EUR,31.10.2026,a@example.com,Alex,Smith,10115",
        "006B,Prospecting,1200.00,EUR,31.12.2026,b@example.com,Bo,Lee,10115",
        header=header,
    )
    first, open_one = results(name, time_zone="Europe/Berlin")
    assert isinstance(first, dict)
    assert open_one is None
    assert first["originalTimestamp"] == "2026-10-31T00:00:00+01:00"
    assert first["properties"] == {"total": 1200.0, "currency": "EUR", "order_id": "006A"}


def test_standard_events_of_meta_get_the_names_that_the_gateway_maps() -> None:
    assert STANDARD_TO_SOURCE["Purchase"] == "Order Completed"
    assert STANDARD_TO_SOURCE["ViewContent"] == "Product Viewed"
    assert set(STANDARD_TO_SOURCE) <= set(STANDARD_EVENTS)
    assert all(BUILT_IN[name] == standard for standard, name in STANDARD_TO_SOURCE.items())


def test_two_columns_for_one_field_are_refused(tmp_path: Path) -> None:
    name = write(tmp_path, f"{sale(1)},9", header=f"{HEADER},amount")
    assert problems(name) == ["value could be 'value' or 'amount'; set it in `columns.value`"]


def test_a_file_without_customer_or_time_is_refused(tmp_path: Path) -> None:
    name = write(tmp_path, "1,2", header="order_id,value")
    missing_time, missing_customer = problems(name)
    assert "no column has the time of the event" in missing_time
    assert "no column says who the customer is" in missing_customer


def test_settings_name_the_columns_the_properties_and_the_rows(tmp_path: Path) -> None:
    name = write(
        tmp_path,
        "a@example.com,,2026-11-01,9,Sale,Blue,shop",
        ",b@example.com,2026-11-01,9,Sale,,Web",
        "c@example.com,,2026-11-01,9,Visit,,Shop",
        header="Mail,Mail 2,When,Sum,Kind,Colour,Place",
    )
    Path(f"{name}.toml").write_text(
        """
        time_zone = "UTC"
        currency = "EUR"
        country = "DE"
        [columns]
        email = ["Mail", "Mail 2"]
        event_time = "When"
        value = "Sum"
        event = "Kind"
        [properties]
        colour = "Colour"
        [events]
        Sale = "Order Completed"
        [only]
        Place = ["Shop"]
        """
    )
    first, skipped, third = results(name)
    assert skipped is None
    assert isinstance(first, dict)
    assert isinstance(third, dict)
    assert first["event"] == "Order Completed"
    assert first["properties"] == {"currency": "EUR", "total": 9.0, "colour": "Blue"}
    assert first["context"]["traits"] == {"email": "a@example.com", "address": {"country": "DE"}}
    assert third["event"] == "Visit"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("colums = 1", "colums: Extra inputs"),
        ("[columns]\nmail = 'a'", "columns.mail: unknown field 'mail'"),
        ("time_zone = 'Mars'", "time_zone: unknown time zone 'Mars'"),
        ("decimal = ','", "decimal: Input should be 'point' or 'comma'"),
        ("[columns]\nemail = 'No such'\nevent_time = 'event_time'", "there is no column 'No such'"),
        ("encoding = 'rot13'", "encoding: unknown text encoding 'rot13'"),
        ("delimiter = '::'", "delimiter: expected one character"),
        ("a =", "invalid TOML"),
    ],
)
def test_invalid_settings_are_refused(tmp_path: Path, settings: str, message: str) -> None:
    name = write(tmp_path, sale(1))
    path = tmp_path / "import.toml"
    path.write_text(settings)
    with pytest.raises(GatewayError, match=message.replace("[", r"\[")):
        plan_import(name, {}, path)


def test_message_ids_are_stable_and_differ_between_rows_and_files(tmp_path: Path) -> None:
    first = write(tmp_path, sale(1), sale(1))
    ids = [call["messageId"] for call in calls(first)]
    assert ids == [call["messageId"] for call in calls(first)]
    assert ids[0] != ids[1]
    other = write(tmp_path, sale(1), sale(2), name="other.csv")
    assert calls(other)[0]["messageId"] != ids[0]


def test_a_row_without_a_time_is_rejected(tmp_path: Path) -> None:
    assert codes(write(tmp_path, sale(1, event_time=" "))) == ["no_event_time"]


def test_columns_that_are_not_sent_are_listed(tmp_path: Path) -> None:
    name = write(tmp_path, f"{sale(1)},x", header=f"{HEADER},Notes")
    with closing(plan(name)) as planned:
        assert planned.unused == ["Notes"]
    assert "x" not in calls(name)[0]["properties"].values()
