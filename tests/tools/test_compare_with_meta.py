"""The comparison with Meta's libraries, over a folder with small libraries that stand for Meta's."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tools.compare_with_meta import __main__ as tool
from tools.compare_with_meta.disagreements import DISAGREEMENTS, Comparison, Kind, disagreement
from tools.compare_with_meta.gateway_hashes import KEYS, Sent, sent_by_checkout, sent_by_gateway
from tools.compare_with_meta.generated_values import Given, values
from tools.compare_with_meta.libraries import MetaLibraries

PROJECT = Path(__file__).parents[2]
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")

HASH = "const hash = (text) => require('crypto').createHash('sha256').update(text).digest('hex');"
FILES = {
    "node_modules/capi-param-builder-nodejs/package.json": '{"version": "7.0.1", "main": "index.js"}',
    "node_modules/capi-param-builder-nodejs/index.js": f"""
        {HASH}
        class ParamBuilder {{
          getNormalizedAndHashedPII(value, type) {{
            if (type === 'email' && !value.includes('@')) return null;
            return hash(value.trim().toLowerCase()) + '.AQYCAQAA';
          }}
        }}
        module.exports = {{ ParamBuilder }};
    """,
    "node_modules/capi-param-builder-nodejs/src/piiUtil/emailUtil.js": """
        module.exports = { getNormalizedEmail: (value) => value.trim().toLowerCase() };
    """,
    "node_modules/capi-param-builder-nodejs/tests/emailUtil.test.js": """
        const { getNormalizedEmail } = require('../src/piiUtil/emailUtil');
        describe('email', () => {
          test('is trimmed', () => expect(getNormalizedEmail(' A@B.CO ')).toEqual('a@b.co'));
          it('must be a text', () => expect(() => getNormalizedEmail(1)).toThrow());
        });
    """,
    "node_modules/facebook-nodejs-business-sdk/package.json": '{"version": "8.0.2", "main": "index.js"}',
    "node_modules/facebook-nodejs-business-sdk/index.js": f"""
        {HASH}
        class UserData {{
          constructor() {{
            return new Proxy(this, {{ get: (_, name) => (value) => {{
              if (name === 'setCountry') throw new Error(value);
              return {{ normalize: () => new Proxy({{}}, {{ get: () => [hash(value)] }}) }};
            }} }});
          }}
        }}
        module.exports = {{ UserData }};
    """,
    "python/facebook_business-9.0.3.dist-info/METADATA": "Name: facebook_business\nVersion: 9.0.3\n",
    "python/facebook_business/__init__.py": "",
    "python/facebook_business/adobjects/__init__.py": "",
    "python/facebook_business/adobjects/serverside/__init__.py": "",
    "python/facebook_business/adobjects/serverside/user_data.py": """
class UserData:
    def __init__(self, email=None, **others):
        self.email = email
    def normalize(self):
        return {"em": ["0" * 64]} if self.email else {}
    """,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as the tool wants it."""
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@needs_node
def test_each_library_is_asked_for_each_value_of_a_field_that_it_has(folder: Path) -> None:
    given = [Given("email", " A@b.co"), Given("email", "a"), Given("country", "us"), Given("external_id", "7")]

    answers = MetaLibraries(folder).sent(given)

    assert answers == [
        {
            "parameter_builder": f"{sha256('a@b.co')}.AQYCAQAA",
            "node_sdk": sha256(" A@b.co"),
            "python_sdk": "0" * 64,
        },
        {"parameter_builder": None, "node_sdk": sha256("a"), "python_sdk": "0" * 64},
        {"parameter_builder": f"{sha256('us')}.AQYCAQAA", "node_sdk": "error", "python_sdk": None},
        {"parameter_builder": f"{sha256('7')}.AQYCAQAA"},
    ]


@needs_node
def test_the_texts_of_the_libraries_own_tests_are_taken(folder: Path) -> None:
    assert MetaLibraries(folder).test_values() == [Given("email", " A@B.CO ")]


@needs_node
def test_a_failed_test_of_a_library_is_an_error(folder: Path) -> None:
    test = folder / "node_modules/capi-param-builder-nodejs/tests/emailUtil.test.js"
    test.write_text(test.read_text().replace("'a@b.co'", "'b@b.co'"))

    with pytest.raises(subprocess.CalledProcessError):
        MetaLibraries(folder).test_values()


@needs_node
def test_the_page_has_the_versions_the_agreement_and_the_classes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = tool.main([str(folder), "--values", "44", "--before", str(PROJECT), "--before-is", "the same version"])

    page, errors = capsys.readouterr()
    assert "(Parameter Builder 7.0.1, SDK for Node.js 8.0.2, SDK for Python 9.0.3)" in page
    assert "over 44 generated values and the 1 values" in page
    assert "*Before* is the same version." in page
    assert "| email | 1 | 1 | 1 |" in page
    assert "| **all** | 1 | 1 | 1 |" in page
    assert "| birthday | the SDKs hash the text as it is, whether it is a date or not |" in page
    assert "| DE | 1,366 | 199 |" in page
    assert "$" not in page
    assert (code, "SDK for Python: email" in errors) == (1, True)  # its hash of zeros is of no known class


def test_the_generated_values_are_the_same_in_every_run_and_of_all_fields() -> None:
    generated = list(values(1_100))

    assert generated == list(values(1_100))
    assert Counter(each.field for each in generated) == dict.fromkeys(KEYS, 100)


def test_another_version_of_the_gateway_is_asked_in_its_folder(tmp_path: Path) -> None:
    given = [Given("email", "A@shop.example"), Given("phone", "030 1234567", "DE"), Given("gender", "x")]
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "__init__.py").write_text("raise SystemExit(3)")

    assert sent_by_checkout(given, PROJECT) == sent_by_gateway(given)
    with pytest.raises(subprocess.CalledProcessError) as failed:
        sent_by_checkout(given, tmp_path)
    assert failed.value.returncode == 3


@pytest.mark.parametrize(
    ("hashes", "answer", "kind"),
    [
        ([sha256("a")], sha256("a"), None),
        ([sha256("a"), sha256("b")], f"{sha256('b')}.AQYCAQAA", None),
        ([f"{sha256('a')}.AQYCAQAA"], sha256("a"), None),
        ([], None, None),
        ([], "error", None),
        ([sha256("a")], sha256("b"), Kind.DIFFERENT),
        ([sha256("a")], None, Kind.ONLY_GATEWAY),
        ([sha256("a")], "error", Kind.ONLY_GATEWAY),
        ([], sha256("a"), Kind.ONLY_LIBRARY),
    ],
)
def test_hashes_agree_if_one_of_the_gateways_is_the_librarys(
    hashes: list[str], answer: str | None, kind: Kind | None
) -> None:
    given = Given("first_name", "Ann")
    assert Comparison(given, Sent(hashes, None), "parameter_builder", answer).kind is kind


ANSWERS = {
    "the SDKs keep punctuation": ("node_sdk", sha256("anne-marie")),
    "the SDKs do not abbreviate, keep apostrophes and other punctuation, and remove digits": (
        "python_sdk",
        sha256("ohio"),
    ),
    "the Parameter Builder makes it lower case and removes white space": ("parameter_builder", sha256("shop-7a")),
    "an MD5 is sent as it is": ("node_sdk", "900150983cd24fb0d6963f7d28e17f72"),
    "the SDKs take two-letter codes only": ("node_sdk", "error"),
    "the SDKs hash the text as it is, whether it is a date or not": ("python_sdk", sha256("1988-02-29")),
}


@pytest.mark.parametrize("libraries", ANSWERS)
def test_a_disagreement_is_of_the_class_that_describes_it(libraries: str) -> None:
    [expected] = [each for each in DISAGREEMENTS if each.libraries == libraries]
    [sent] = sent_by_gateway([expected.example])

    comparison = Comparison(expected.example, sent, *ANSWERS[libraries])

    assert comparison.kind is not None
    assert disagreement(comparison) is expected


def test_a_hash_that_no_class_describes_is_of_none() -> None:
    given = Given("first_name", "Anne-Marie")
    [sent] = sent_by_gateway([given])
    assert disagreement(Comparison(given, sent, "node_sdk", sha256("something else"))) is None
