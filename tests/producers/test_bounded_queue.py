"""The hand-over queue: what gives way when it is full."""

from __future__ import annotations

import threading

import pytest

from producers.bounded_queue import BoundedQueue, Policy


def filled(policy: Policy) -> BoundedQueue[int]:
    queue = BoundedQueue[int](2, 1000, policy)
    assert all(queue.put(number, 1).accepted for number in (1, 2))
    return queue


def test_drop_oldest_makes_room() -> None:
    outcome = filled("drop-oldest").put(3, 1)
    assert (outcome.accepted, outcome.evicted) == (True, (1,))


def test_drop_newest_refuses() -> None:
    queue = filled("drop-newest")
    assert not queue.put(3, 1).accepted
    assert [queue.take(), queue.take(), queue.take()] == [1, 2, None]


def test_block_waits_for_room() -> None:
    queue = filled("block")
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(queue.put(3, 1).accepted))
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    assert queue.take() == 1
    thread.join(5)
    assert results == [True]


def test_close_wakes_who_waits() -> None:
    queue = filled("block")
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(queue.put(3, 1).accepted))
    thread.start()
    assert queue.close() == (1, 2)
    thread.join(5)
    assert results == [False]
    assert queue.take(10) is None


def test_bytes_bound_too() -> None:
    queue = BoundedQueue[str](100, 10, "drop-oldest")
    queue.put("a", 4)
    queue.put("b", 4)
    assert queue.put("c", 8).evicted == ("a", "b")
    assert queue.put("larger than the bound", 50).evicted == ("c",)
    assert len(queue) == 1


@pytest.mark.parametrize("policy", ["drop-oldest", "drop-newest"])
def test_nothing_is_lost_uncounted(policy: Policy) -> None:
    queue = BoundedQueue[int](3, 10, policy)
    dropped = 0
    for number in range(50):
        outcome = queue.put(number, 1 + number % 5)
        dropped += len(outcome.evicted) + (not outcome.accepted)
    assert dropped + len(queue) == 50
