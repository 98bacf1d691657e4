"""Column names of known exports, in the form of `simplified`, by field.

Sources: Meta's offline event template; the exports of orders (Shopify), transactions (Square), and opportunities and
contacts (Salesforce: report labels and API names).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_NO_LETTER_OR_DIGIT = re.compile(r"[\W_]+")


def simplified(header: str) -> str:
    """A column name in lower case, with letters and digits only."""
    return _NO_LETTER_OR_DIGIT.sub("", header.lower())


class Export(NamedTuple):
    """The columns of one kind of export."""

    name: str
    signature: frozenset[str]
    """Columns by which it is recognised: all must be there."""
    fields: Mapping[str, Sequence[str]]
    """By field, its columns in order of preference."""
    only: Mapping[str, Sequence[str]] = {}
    """Rows that are sales, by column."""


SHOPIFY = Export(
    "Shopify orders",
    frozenset({"name", "financialstatus", "lineitemname"}),
    {
        "order_id": ["name"],
        "email": ["email"],
        "phone": ["phone", "billingphone", "shippingphone"],
        "name": ["billingname", "shippingname"],
        "city": ["billingcity", "shippingcity"],
        "state": ["billingprovince", "shippingprovince"],
        "zip": ["billingzip", "shippingzip"],
        "country": ["billingcountry", "shippingcountry"],
        "event_time": ["paidat", "createdat"],
        "value": ["total"],
        "currency": ["currency"],
    },
    # The further lines of an order have no status, nor a total.
    {"financialstatus": ["paid", "partially_paid", "partially_refunded"]},
)
SQUARE = Export(
    "Square transactions",
    frozenset({"transactionid", "totalcollected", "date", "time"}),
    {
        "order_id": ["transactionid"],
        "event_time": ["date"],
        "time_of_day": ["time"],
        "time_zone": ["timezone"],
        "value": ["totalcollected"],
        "name": ["customername"],
        "external_id": ["customerreferenceid", "customerid"],
        "email": ["customeremail"],
        "phone": ["customerphone"],
    },
    {"eventtype": ["payment"]},
)
SALESFORCE = Export(
    "Salesforce opportunities",
    frozenset({"amount", "closedate"}),
    {
        "order_id": ["opportunityid", "id"],
        "event_time": ["closedate"],
        "value": ["amount"],
        "currency": ["amountcurrency", "opportunitycurrency", "currencyisocode"],
        "email": ["email", "contactemail", "personemail"],
        "phone": ["phone", "mobile", "mobilephone", "contactphone"],
        "first_name": ["firstname", "contactfirstname"],
        "last_name": ["lastname", "contactlastname"],
        "name": ["primarycontact", "contactname"],
        "city": ["mailingcity", "billingcity"],
        "state": ["mailingstateprovince", "mailingstate", "billingstateprovince", "billingstate"],
        "zip": ["mailingzippostalcode", "mailingpostalcode", "billingzippostalcode", "billingpostalcode"],
        "country": ["mailingcountry", "billingcountry"],
        "birthday": ["birthdate"],
        "external_id": ["contactid"],
    },
    {"stage": ["closed won"], "stagename": ["closed won"]},
)
EXPORTS = (SHOPIFY, SQUARE, SALESFORCE)

COMMON: Mapping[str, Sequence[str]] = {
    "email": ["email", "em", "emailaddress", "customeremail"],
    "phone": ["phone", "ph", "phonenumber", "mobile", "mobilephone", "telephone", "customerphone"],
    "first_name": ["fn", "firstname", "givenname"],
    "last_name": ["ln", "lastname", "surname", "familyname"],
    "name": ["fullname", "customername"],
    "city": ["ct", "city"],
    "state": ["st", "state", "province"],
    "zip": ["zip", "zp", "zipcode", "postalcode", "postcode"],
    "country": ["country", "countrycode"],
    "birthday": ["dob", "db", "birthday", "dateofbirth", "birthdate"],
    "birth_year": ["doby"],
    "birth_month": ["dobm"],
    "birth_day": ["dobd"],
    "gender": ["gen", "ge", "gender", "sex"],
    "external_id": ["externid", "externalid", "uid", "userid", "customerid"],
    "madid": ["madid", "mobileadvertiserid", "idfa", "aaid"],
    "lead_id": ["leadid"],
    "event": ["eventname"],
    "event_time": ["eventtime", "timestamp", "orderdate", "ordertime", "orderedat", "purchasedate", "saledate", "date"],
    "value": ["value", "total", "amount", "revenue", "price", "ordertotal"],
    "currency": ["currency", "currencycode"],
    "order_id": ["orderid", "ordernumber", "transactionid"],
    "item_number": ["itemnumber"],
    "action_source": ["actionsource"],
    "event_id": ["eventid"],
    "event_source_url": ["eventsourceurl"],
    "client_ip_address": ["clientipaddress"],
    "client_user_agent": ["clientuseragent"],
    "fbc": ["fbc"],
    "fbp": ["fbp"],
    "upload_tag": ["uploadtag"],
    "opt_out": ["optout"],
}
"""Columns of Meta's template, and other usual names. Two different names for one field are ambiguous here."""
