"""When a breaker lets through, and who."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schemas.clock import ManualClock
from transport.circuit_breaker import CircuitBreaker


def test_one_tries_after_the_rest_and_the_next_if_it_never_comes_back() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker(5, clock=clock)
    assert breaker.failed()
    assert not breaker.failed()  # one more that was under way: the same outage
    for _ in range(3):
        assert not breaker.allows()
        clock.advance(5)
        assert [breaker.allows() for _ in range(3)] == [True, False, False]
    assert breaker.outage_s == 15
    assert breaker.succeeded()
    assert not breaker.succeeded()
    assert (breaker.allows(), breaker.outage_s) == (True, 0)


def test_a_late_success_ends_no_outage() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker(5, clock=clock)
    breaker.failed()
    clock.advance(1)
    assert not breaker.succeeded()
    assert not breaker.allows()


def test_the_rest_doubles_up_to_its_bound_and_begins_anew_with_the_next_outage() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker(5, 30, clock=clock)
    rests = []
    for number in range(5):
        assert breaker.failed() == (number == 0)
        rests.append(breaker.rest_s)
        clock.advance(rests[-1])
        assert breaker.allows()
    assert rests == [5, 10, 20, 30, 30]
    assert breaker.succeeded()
    assert breaker.failed()
    assert breaker.rest_s == 5


@given(st.lists(st.tuples(st.floats(0, 4), st.booleans()), max_size=60))
def test_a_dead_thing_is_asked_once_a_rest_at_most(steps: list[tuple[float, bool]]) -> None:
    clock = ManualClock()
    breaker = CircuitBreaker(5, clock=clock)
    breaker.failed()
    last_s = 0.0
    for pause_s, answers in steps:
        clock.advance(pause_s)
        if breaker.allows():
            assert clock.monotonic_s() - last_s >= 5
            last_s = clock.monotonic_s()
            if answers:
                breaker.failed()
