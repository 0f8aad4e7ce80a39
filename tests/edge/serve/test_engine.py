"""The queue before the learner's thread: its order, its limit, and what becomes of jobs when the server stops."""

import asyncio
import threading
from typing import Any

import pytest

from edge.learner import Learner
from edge.serve.engine import WAITING, Busy, Ended, Engine
from tests.refused import refused


async def waiting(engine: Engine, count: int, done: list[int]) -> list[asyncio.Task[Any]]:
    """Give the engine jobs that note their number; returns when all of them wait."""
    tasks = [asyncio.ensure_future(engine.do(lambda _, number=number: done.append(number))) for number in range(count)]
    await asyncio.sleep(0)
    return tasks


def test_more_jobs_than_may_wait_are_refused_and_the_others_are_done_in_their_order(learner: Learner) -> None:
    async def ask() -> list[int]:
        engine, done = Engine(threading.Event()), list[int]()
        tasks = await waiting(engine, WAITING, done)
        with refused("server-busy", Busy):
            await engine.do(lambda _: None)
        for _ in range(WAITING):
            engine.next(learner, 0)
        await asyncio.gather(*tasks)
        (again,) = await waiting(engine, 1, done)  # there is room again
        engine.next(learner, 0)
        await again
        return done

    assert asyncio.run(ask()) == [*range(WAITING), 0]


def test_a_server_that_stops_refuses_what_waits_and_what_comes(learner: Learner) -> None:
    async def ask() -> list[int]:
        engine, done = Engine(threading.Event()), list[int]()
        tasks = await waiting(engine, 3, done)
        engine.next(learner, 0)
        engine.stop.set()
        engine.refuse()
        assert await tasks[0] is None
        for task in tasks[1:]:
            with refused("server-stopping", Ended):
                await task
        with refused("server-stopping", Ended):
            await engine.do(lambda _: None)
        assert engine.next(learner, 0) is None
        return done

    assert asyncio.run(ask()) == [0]


def test_a_job_whose_client_has_gone_is_not_done_and_a_failed_one_fails_alone(learner: Learner) -> None:
    async def ask() -> list[int]:
        engine, done = Engine(threading.Event()), list[int]()
        gone, kept = await waiting(engine, 2, done)
        failing = asyncio.ensure_future(engine.do(lambda _: 1 // 0))
        gone.cancel()
        await asyncio.sleep(0)
        for _ in range(3):
            engine.next(learner, 0)
        await kept
        with pytest.raises(ZeroDivisionError):
            await failing
        return done

    assert asyncio.run(ask()) == [1]
