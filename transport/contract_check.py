"""Frame of the testing kits of cameras and drivers: runs foreign code step by step and states its faults."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, NoReturn, TypeVar

from schemas.errors import error_line
from transport.bounded_call import call_in_thread

T = TypeVar("T")

#: Most characters of a foreign error in a message.
_TEXT = 200


class ContractCheck(ABC, Generic[T]):
    """One run of a contract over objects that a function makes.

    Parameters
    ----------
    make
        Function that makes an object to check.
    kind
        Word for such an object, for messages: ``camera``.
    timeout_s
        Longest time for the whole check, in seconds.
    """

    def __init__(self, make: Callable[[], T], kind: str, timeout_s: float) -> None:
        self._make = make
        self._kind = kind
        self._timeout_s = timeout_s
        self._made: list[T] = []
        self._name = getattr(make, "__name__", f"the {kind}").replace("<lambda>", f"the {kind}")
        self._step = "make()"
        self._is_abandoned = False

    def run(self) -> None:
        """Check the rules in a thread.

        Raises
        ------
        AssertionError
            If a rule is broken, or a call does not return in time.
        """
        try:
            call_in_thread(self._check, self._timeout_s, f"check of a {self._kind}")
        except TimeoutError as error:
            self._is_abandoned = True
            expected = f"the whole check to end within {self._timeout_s:g} s"
            raise AssertionError(f"{self._name}: {self._step} does not return; expected {expected}") from error

    @abstractmethod
    def _check(self) -> None:
        """Check the rules; raise AssertionError for the first one that is broken."""

    def _new(self) -> T:
        """Make an object that was not made before."""
        with self._at("make()"):
            made = self._make()
        self._name = type(made).__name__
        if any(made is other for other in self._made):
            self._fail(f"make() returned the same {self._kind} again", f"a new {self._kind} at each call")
        self._made.append(made)
        return made

    @contextmanager
    def _at(self, step: str, about: str = "") -> Iterator[None]:
        """Name a call of foreign code, and turn its error into one of the check."""
        if self._is_abandoned:
            # A call that took too long has returned after all; nobody waits for this check.
            raise AssertionError("the check is over")
        self._step = step
        try:
            yield
        except Exception as error:
            text = f"{type(error).__name__}: {error_line(error)[:_TEXT]}{about}"
            raise AssertionError(f"{self._name}: {step} raised {text}; expected no error") from error

    def _fail(self, fault: str, expected: str) -> NoReturn:
        raise AssertionError(f"{self._name}: {fault}; expected {expected}")
