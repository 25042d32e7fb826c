"""Forms of an answer for a topic that refuses the whole answer: each form is smaller than the one before."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from schemas.letters import smaller
from schemas.records import Decision, Record
from stream_processors.worker.frame_task import ProcessingResult

#: A refused message of up to this size is sent again unchanged before it is made smaller: the broker refuses a batch as
#: a whole, and another message may be the large one.
_SMALL_BYTES = 16 * 1024
_SMALL_TRIES = 3
#: A larger message is sent again once, in a batch of its own: the rest of its batch may have been too much.
_LARGE_TRIES = 2
_SHORT_TEXT = 200

Encode = Callable[[Record], bytes]
HeaderPairs = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Form:
    """Key, value and headers of one message."""

    key: bytes | None
    value: bytes | None
    headers: HeaderPairs = ()

    @property
    def is_small(self) -> bool:
        """True if the message is too small to be the reason for which a batch is too large."""
        return len(self.value or b"") + len(self.key or b"") <= _SMALL_BYTES


def decision_forms(answer: ProcessingResult, headers: HeaderPairs, encode: Encode) -> Iterator[Form]:
    """Yield the decision of an answer; then without attributes, then only with what a gate and an audit need.

    The smaller forms have no headers.
    """
    decision = answer.decision
    assert decision is not None
    key = decision.key.encode()
    yield from _patient(Form(key, answer.decision_bytes, headers))
    for each in _smaller(decision):
        yield from _patient(Form(key, encode(each)))


def letter_forms(answer: ProcessingResult, encode: Encode) -> Iterator[Form]:
    """Yield the dead letter of an answer; then without its value, then only with the position of the message."""
    yield from _patient(Form(answer.dead_letter_key, answer.dead_letter))
    if answer.letter is not None:
        for letter in smaller(answer.letter):
            # A compacted topic accepts no message without a key.
            yield from _patient(Form(letter.key or letter.source_topic.encode(), encode(letter)))


def _smaller(decision: Decision) -> Iterator[Decision]:
    yield dataclasses.replace(decision, attributes={}, reason=decision.reason[:_SHORT_TEXT])
    yield dataclasses.replace(
        decision, attributes={}, reason=decision.reason[:_SHORT_TEXT], defects=(), labels={}, signals={}
    )


def _patient(form: Form) -> Iterator[Form]:
    for _ in range(_SMALL_TRIES if form.is_small else _LARGE_TRIES):
        yield form
