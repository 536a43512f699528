"""The measurements of the program `ipc`, done with Python's multiprocessing.

    peer.py version                                                            the version
    peer.py throughput SIZE PRODUCERS CAPACITY SECONDS CONSUMER_CPU PRODUCER_CPU   k messages/s; a negative CPU is any
    peer.py round_trip SECONDS CPU PARTNER_CPU                                 us
    peer.py process MEBIBYTES SECONDS CPU                                      us
"""
import multiprocessing
import os
import platform
import signal
import statistics
import sys
import time

LONGEST_RUN_SECONDS = 300
TRIPS = 16
STEP = 16
context = multiprocessing.get_context("fork")


def pin(cpu):
    if cpu >= 0:
        os.sched_setaffinity(0, {cpu})


def produce(queue, size, cpu):
    pin(cpu)
    message = bytes(size)
    while True:
        queue.put(message)


def answer(there, back, cpu):
    pin(cpu)
    while True:
        back.put(there.get())


def rate_during(queue, size, seconds):
    messages = 0
    began = time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        for _ in range(STEP):
            if len(queue.get()) != size:
                raise RuntimeError("a message is wrong")
        messages += STEP
    return messages / passed / 1e3


def throughput(size, producers, capacity, seconds, consumer_cpu, producer_cpu):
    queue = context.Queue(capacity)
    workers = [context.Process(target=produce, args=(queue, size, producer_cpu)) for _ in range(producers)]
    for worker in workers:
        worker.start()
    pin(consumer_cpu)
    queue.get()
    rate_during(queue, size, seconds / 4)
    rate = rate_during(queue, size, seconds)
    for worker in workers:
        worker.kill()
    return rate


def round_trip(seconds, cpu, partner_cpu):
    there, back = context.Queue(), context.Queue()
    partner = context.Process(target=answer, args=(there, back, partner_cpu))
    partner.start()
    pin(cpu)
    message = bytes(16)
    times = []
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        for _ in range(TRIPS):
            there.put(message)
            back.get()
        times.append((time.perf_counter() - began) / TRIPS)
    partner.kill()
    return statistics.median(times) * 1e6


def nothing():
    pass


def process(mebibytes, seconds, cpu):
    pin(cpu)
    memory = bytearray(b"1") * (mebibytes << 20)
    times = []
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        child = context.Process(target=nothing)
        child.start()
        child.join()
        times.append(time.perf_counter() - began)
        if child.exitcode != 0:
            raise RuntimeError("a process failed")
    del memory
    return statistics.median(times) * 1e6


if __name__ == "__main__":
    signal.alarm(LONGEST_RUN_SECONDS)
    command, *arguments = sys.argv[1:]
    print({"version": platform.python_version, "throughput": throughput, "round_trip": round_trip,
           "process": process}[command](*(float(word) if "." in word else int(word) for word in arguments)))
