"""The findings of the abstract of the original study: what holds of each, and how surely."""

from __future__ import annotations

from typing import NamedTuple

from lastmile.studies.claims import Claim, Effect
from lastmile.studies.words import Line, effects, in_words, ledger


class Finding(NamedTuple):
    """A finding of the abstract of the original study.

    Attributes:
        title: What it says.
        study: The study that tests it, whose figure shows it.
        claims: Its claims.
    """

    title: str
    study: str
    claims: tuple[str, ...]


ABSTRACT = (
    Finding(
        "Skills come in an order: the interface first, then placement, then decisions.",
        "emergence",
        (
            "order: mechanics before placement",
            "order: placement before decisions",
            "order: placement before undoing",
        ),
    ),
    Finding(
        "Policies make fewer mistakes than their data, yet correct those put before them.",
        "mistakes",
        (
            "fewer mistakes than the data",
            "fewer mistakes than the data, joint policy",
            "mistakes snowball",
            "correction retained",
            "correction retained, joint policy",
        ),
    ),
    Finding(
        "Larger policies need fewer frames, and decide worse at equal placement.",
        "scaling",
        ("larger is more data-efficient", "larger decides worse"),
    ),
    Finding(
        "A pretrained policy is quickly fine-tuned to an unseen task; training from scratch fails.",
        "transfer",
        ("pretraining transfers", "pretraining transfers, closed loop", "scratch fails"),
    ),
    Finding(
        "The process can be read from the activations: phase, position, mistakes.",
        "probes",
        tuple(
            f"{target} {claim}"
            for target in ("phase", "position", "mistake")
            for claim in ("readable", "more readable than from the input")
        ),
    ),
    Finding(
        "Tasks share a representation of mistakes, except for classification.",
        "probe_generalization",
        (
            "mistake shared",
            "mistake not shared with classification",
            "mistake directions agree",
            "mistake direction acts",
            "mistake direction acts, closed loop",
        ),
    ),
)
"""The findings of the abstract, in its order."""


class Sentence(NamedTuple):
    """What is known about one claim, in words.

    Attributes:
        verdict: The verdict.
        text: The claim with its numbers.
    """

    verdict: str
    text: str


def abstract(claims: list[Claim]) -> list[tuple[Finding, list[Sentence]]]:
    """Say what holds of each finding of the abstract, how surely, and what was not testable."""
    words = effects()
    lines = {line.whole.claim: line for line in ledger(claims)}
    told = []
    for finding in ABSTRACT:
        sentences = [
            Sentence(lines[name].whole.verdict, _sentence(lines[name], words.get(name)))
            for name in finding.claims
            if name in lines
        ]
        if sentences:
            told.append((finding, sentences))
    return told


OPENINGS = {
    "shown": "Holds",
    "contradicted": "The opposite holds",
    "null": "No effect",
    "undecided": "Undecided",
    "not testable": "Not testable",
}
"""First words of a sentence, by verdict."""


def _sentence(line: Line, effect: Effect | None) -> str:
    """Say what is known about a claim."""
    whole, by_task = line
    text = f"{whole.statement} ({in_words(whole, effect)})"
    tested = [claim for claim in by_task if claim.verdict != "not testable"]
    if tested:
        shown = sum(claim.verdict == "shown" for claim in tested)
        text += f"; by task, shown on {shown} of {len(tested)} where it can be tested"
    return text + "."


def abstract_lines(claims: list[Claim]) -> list[str]:
    """Return the lines of Markdown; none if no claim is about the abstract."""
    lines = ["## The findings of the abstract", ""]
    told = abstract(claims)
    for finding, sentences in told:
        lines += [f"**{finding.title}** ([figure](figures/{finding.study}.png))", ""]
        lines += [f"- *{OPENINGS[sentence.verdict]}*: {sentence.text}" for sentence in sentences]
        lines.append("")
    return lines if told else []
