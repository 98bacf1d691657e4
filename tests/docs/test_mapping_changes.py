"""The tool that prints the cases of the mapping: each case is in one of its tables."""

from __future__ import annotations

from tools import mapping_changes


def test_every_rule_of_the_cases_is_in_one_table() -> None:
    cases = mapping_changes.read_cases()
    assert {case.group for case in cases} == set(mapping_changes.GROUPS)


def test_a_case_that_is_sent_in_another_way_is_counted() -> None:
    cases = mapping_changes.read_cases()[:3]
    before = [mapping_changes.sent(case) for case in cases]
    before[1] = ["*dropped*", "*dropped*"]

    lines = list(mapping_changes.tables(cases, before, only_changed=True))

    assert "1 of 3 cases are sent in another way than before." in lines
    assert sum(line.startswith("| phone:") for line in lines) == 1
