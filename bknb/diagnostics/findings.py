"""What a check of the doctor has found, with advice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from ..domain.html import Html, element, elements

State: TypeAlias = Literal["ok", "note", "bad"]

_SAME_MS: Final = 100  # an answer of an exchange takes as long
_SIGNS: Final = {"ok": "✔", "note": "•", "bad": "✘"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Result of one check.

    Attributes
    ----------
    what : str
        What was checked.
    state : {"ok", "note", "bad"}
        ``"note"``: worth knowing, only part of bknb needs it. ``"bad"``: something will not work.
    found : str
    advice : str
        What to do; empty where there is nothing to do.
    expected : str
        What should have been found; empty where that goes without saying.
    """

    what: str
    state: State
    found: str
    advice: str = ""
    expected: str = ""

    @property
    def text(self) -> str:
        """What was found, and what was expected where that is another thing."""
        other = self.expected and self.expected != self.found
        return f"{self.found} (expected: {self.expected})" if other else self.found


def skew_text(ahead_ms: int) -> str:
    """How far the clock of this machine is from that of an exchange.

    Examples
    --------
    >>> skew_text(-3), skew_text(1500)
    ('this machine and the exchange agree to 0.1 s', 'this machine is 1500 ms ahead of the exchange')
    """
    if abs(ahead_ms) <= _SAME_MS:
        return "this machine and the exchange agree to 0.1 s"
    return f"this machine is {abs(ahead_ms)} ms {'ahead of' if ahead_ms > 0 else 'behind'} the exchange"


@dataclass(frozen=True, slots=True)
class Checkup:
    """Findings of ``bknb.doctor``; true where nothing is bad.

    Attributes
    ----------
    findings : tuple of Finding

    Examples
    --------
    >>> print(Checkup((Finding(what="Python", state="ok", found="3.11.7"),)))
    ✔ Python  3.11.7
    """

    findings: tuple[Finding, ...]

    def __bool__(self) -> bool:
        return not any(finding.state == "bad" for finding in self.findings)

    def __repr__(self) -> str:
        width = max((len(finding.what) for finding in self.findings), default=0)
        lines = []
        for finding in self.findings:
            lines.append(f"{_SIGNS[finding.state]} {finding.what:<{width}}  {finding.text}")
            if finding.advice:
                lines.append(f"  {'':<{width}}  -> {finding.advice}")
        return "\n".join(lines)

    def _repr_html_(self) -> Html:
        left = "text-align:left"
        rows = (
            element(
                "tr",
                element("td", _SIGNS[part.state], aria_label=part.state),
                element("th", part.what, style=left),
                elements("td", (part.text, part.advice), style=left),
            )
            for part in self.findings
        )
        head = element("tr", element("th"), elements("th", ("what", "found", "what to do"), style=left))
        return element("table", element("thead", head), element("tbody", *rows))
