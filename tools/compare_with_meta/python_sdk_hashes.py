"""Writes what Meta's business SDK for Python sends for each value.

    python python_sdk_hashes.py FOLDER < [[field, value], ...] > [{"python_sdk": hash}, ...]

FOLDER has the installed package. A hash is null if the library sends nothing, "error" if it raises, and absent if it
has no such field: it takes a gender only as its own type, and does not hash external IDs.
"""

import importlib
import json
import sys

sys.path.insert(0, sys.argv[1])
UserData = importlib.import_module("facebook_business.adobjects.serverside.user_data").UserData

FIELDS = {
    "email": ("email", "em"),
    "phone": ("phone", "ph"),
    "birthday": ("date_of_birth", "db"),
    "first_name": ("first_name", "fn"),
    "last_name": ("last_name", "ln"),
    "city": ("city", "ct"),
    "state": ("state", "st"),
    "zip": ("zip_code", "zp"),
    "country": ("country_code", "country"),
}
"""Field to argument and key of the SDK."""


def sent(field: str, value: str) -> dict[str, str | None]:
    """What the SDK sends for a value."""
    if field not in FIELDS:
        return {}
    argument, key = FIELDS[field]
    try:
        hashes = UserData(**{argument: value}).normalize().get(key)
    except Exception:  # noqa: BLE001 (every error means that the value is refused)
        return {"python_sdk": "error"}
    return {"python_sdk": hashes[0] if hashes else None}


json.dump([sent(field, value) for field, value in json.load(sys.stdin)], sys.stdout)
