"""Contender with aiokafka: inspect a batch on a pool of threads, await the acknowledgements, commit the offsets."""

from __future__ import annotations

import asyncio
import signal
from concurrent.futures import ThreadPoolExecutor

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.contenders.job import Job, Network, answer, parse

_BATCH = 16


async def run(job: Job, network: Network) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    consumer = AIOKafkaConsumer(
        job.frames,
        bootstrap_servers=job.bootstrap_servers,
        group_id=job.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    producer = AIOKafkaProducer(bootstrap_servers=job.bootstrap_servers, acks="all")
    with ThreadPoolExecutor(job.threads) as pool:
        async with consumer, producer:
            while not stop.is_set():
                batches = await consumer.getmany(timeout_ms=200, max_records=_BATCH)
                messages = [message for batch in batches.values() for message in batch]
                scores = await asyncio.gather(
                    *(loop.run_in_executor(pool, network.score, message.value) for message in messages)
                )
                sent = [
                    await producer.send(job.decisions, answer(message.partition, message.offset, score), message.key)
                    for message, score in zip(messages, scores, strict=True)
                ]
                await asyncio.gather(*sent)
                if messages:
                    await consumer.commit()


def main() -> None:
    """Run the command line."""
    job = parse(__doc__)
    asyncio.run(run(job, Network(job.model)))


if __name__ == "__main__":
    main()
