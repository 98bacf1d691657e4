"""The page of documentation: agreement for each field, and every class of disagreement with its count and reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TypeAlias

from tools.compare_with_meta.disagreements import DISAGREEMENTS, Comparison, Disagreement, disagreement
from tools.compare_with_meta.foreign_calling_codes import Reading
from tools.compare_with_meta.gateway_hashes import Sent
from tools.compare_with_meta.generated_values import Given
from tools.compare_with_meta.libraries import PARAMETER_BUILDER, TITLES, Answer

TEMPLATE = Path(__file__).parent / "page_template.md"
Agreement: TypeAlias = Mapping[tuple[str, str], tuple[int, int]]
"""By library and field, the number of values that agree, and of all values."""


@dataclass(frozen=True, slots=True)
class Results:
    """What the gateway and the libraries send for some values."""

    given: Sequence[Given]
    sent: Sequence[Sent]
    sent_before: Sequence[Sent] | None
    """By an earlier version of the gateway."""
    answers: Sequence[Answer]

    def comparisons(self) -> Iterator[Comparison]:
        """Each value with each library that has such a field."""
        return self._comparisons(self.sent)

    def agreements(self) -> Mapping[str, Agreement]:
        """By version of the gateway, as the page calls it, the earlier one first."""
        versions = {"before": self.sent_before, "now": self.sent}
        return {name: self._agreement(sent) for name, sent in versions.items() if sent is not None}

    def _comparisons(self, sent: Sequence[Sent]) -> Iterator[Comparison]:
        for given, ours, answer in zip(self.given, sent, self.answers, strict=True):
            for library, text in answer.items():
                yield Comparison(given, ours, library, text)

    def _agreement(self, sent: Sequence[Sent]) -> Agreement:
        total: Counter[tuple[str, str]] = Counter()
        same: Counter[tuple[str, str]] = Counter()
        for each in self._comparisons(sent):
            total[each.oracle, each.given.field] += 1
            same[each.oracle, each.given.field] += each.kind is None
        return {key: (same[key], number) for key, number in total.items()}


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the page shows."""

    versions: Mapping[str, str]
    """By library, its version."""
    generated: Results
    of_meta: Results
    """For the values of the Parameter Builder's own tests."""
    examples: Sequence[Sent]
    """What the gateway sends for the example of each class."""
    phones: Sequence[Reading]

    def unexplained(self) -> list[Comparison]:
        """The disagreements of no known class."""
        return [each for each in self._disagreements() if disagreement(each) is None]

    def counts(self) -> Mapping[int, Counter[str]]:
        """By index of the class, how many disagreements each library has in it."""
        counts: dict[int, Counter[str]] = {number: Counter() for number in range(len(DISAGREEMENTS))}
        for each in self._disagreements():
            found = disagreement(each)
            if found is not None:
                counts[DISAGREEMENTS.index(found)][each.oracle] += 1
        return counts

    def _disagreements(self) -> Iterator[Comparison]:
        for results in (self.generated, self.of_meta):
            yield from (each for each in results.comparisons() if each.kind is not None)


def page(report: Report, before: str) -> str:
    """The text of the page.

    Args:
        report: the results.
        before: which version of the gateway the earlier one is.
    """
    compared = report.generated.sent_before is not None
    return Template(TEMPLATE.read_text("utf-8")).substitute(
        versions=", ".join(f"{TITLES[library]} {version}" for library, version in report.versions.items()),
        generated_count=f"{len(report.generated.given):,}",
        own_count=f"{len(report.of_meta.given):,}",
        before=f" *Before* is {before}." if compared else "",
        generated_table="\n".join(_generated_table(report.generated)),
        own_table="\n".join(_own_tests_table(report.of_meta)),
        disagreement_table="\n".join(_disagreement_table(report)),
        phone_table="\n".join(_phone_table(report.phones)),
    )


def _percent(counts: tuple[int, int] | None) -> str:
    return "-" if counts is None else f"{100 * counts[0] / counts[1]:.1f} %"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"| {' | '.join('---' for _ in header)} |"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |"


def _generated_table(results: Results) -> Iterator[str]:
    numbers = Counter(each.field for each in results.given)
    agreements = results.agreements()
    header = [f"{title}, {version}" for title in TITLES.values() for version in agreements]
    rows = []
    for field, number in numbers.items():
        shares = [_percent(each.get((library, field))) for library in TITLES for each in agreements.values()]
        rows.append([field, f"{number:,}", *shares])
    yield from _table(["field", "values", *header], rows)


def _own_tests_table(results: Results) -> Iterator[str]:
    numbers = Counter(each.field for each in results.given)
    agreements = results.agreements()
    same = {field: [each[PARAMETER_BUILDER, field][0] for each in agreements.values()] for field in numbers}
    rows = [[field, f"{number:,}", *(f"{count:,}" for count in same[field])] for field, number in numbers.items()]
    totals = [sum(counts) for counts in zip(*same.values(), strict=True)]
    rows.append(["**all**", f"{numbers.total():,}", *(f"{count:,}" for count in totals)])
    yield from _table(["field", "values", *(f"the same {version}" for version in agreements)], rows)


def _disagreement_table(report: Report) -> Iterator[str]:
    counts = report.counts()
    rows = []
    for number, (each, sent) in enumerate(zip(DISAGREEMENTS, report.examples, strict=True)):
        if not counts[number]:
            continue
        numbers = [f"{TITLES[library]} {counts[number][library]:,}" for library in TITLES if counts[number][library]]
        cells = [", ".join(each.fields) or "all", each.libraries, each.gateway, each.meta]
        rows.append([*cells, _example(each, sent), ", ".join(numbers)])
    yield from _table(["field", "Meta's libraries", "the gateway", "Meta's page", "example", "values"], rows)


def _example(each: Disagreement, sent: Sent) -> str:
    country = f" ({each.example.country})" if each.example.country else ""
    if not sent.hashes:
        result = "dropped"
    else:
        result = f"`{_short(sent.text)}`" if sent.text and sent.text != each.example.value else "as it is"
    return f"`{_short(each.example.value)}`{country}: {result}"


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:6]}…{text[-12:]}"


def _phone_table(readings: Sequence[Reading]) -> Iterator[str]:
    yield from _table(
        ["country of the event", "foreign numbers", "read as they stand"],
        [[each.country, f"{each.numbers:,}", f"{each.as_they_stand:,}"] for each in readings],
    )
