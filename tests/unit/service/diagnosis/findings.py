"""Findings of a check by severity; each warning and failure says what to do."""

from typing import Any

from service.diagnosis.finding import Finding, Status


def of(found: Any) -> list[Finding]:
    findings: list[Finding] = list(found)
    for one in findings:
        assert one.said
        assert bool(one.remedy) == (one.status is not Status.ok)
    return findings


def failures(found: Any) -> list[str]:
    return [f"{one.said} -> {one.remedy}" for one in of(found) if one.status is Status.failure]


def warnings(found: Any) -> list[str]:
    return [f"{one.said} -> {one.remedy}" for one in of(found) if one.status is Status.warning]


def all_good(found: Any) -> bool:
    findings = of(found)
    return bool(findings) and all(one.status is Status.ok for one in findings)
