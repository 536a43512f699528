"""The measurements of the program `pool`, done with Python's concurrent.futures.

    peer.py version                                                the version, and "numpy" if it is there
    peer.py round_trip PARENT_CPU WORKER_CPU SECONDS               us; a negative CPU is any
    peer.py throughput TASKS WINDOW                                k tasks/s, one worker
    peer.py map WORKERS ITEMS MICROSECONDS CHUNKSIZE               % of the ideal
    peer.py array {echo|touch} MEBIBYTES REPEATS                   ms
"""
import array
import collections
import os
import platform
import signal
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor

try:
    import numpy
except ImportError:
    numpy = None

PAGE_DOUBLES = 512
LONGEST_RUN_SECONDS = 300


def noop():
    pass


def pin(cpu):
    if cpu >= 0:
        os.sched_setaffinity(0, {cpu})


def spin(steps):
    x = 1
    for _ in range(steps):
        x = x * 1103515245 + 12345 & 0x7FFFFFFF
    return x


def echo(data):
    return data


def touch(data):
    return float(sum(data[::PAGE_DOUBLES]))


def seconds_of(function):
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def version():
    return platform.python_version() + (" numpy" if numpy else "")


def round_trip(parent_cpu, worker_cpu, seconds):
    pin(int(parent_cpu))
    with ProcessPoolExecutor(1, initializer=pin, initargs=(int(worker_cpu),)) as pool:
        trip = lambda: pool.submit(noop).result()  # noqa: E731
        trip()
        times = []
        until = time.perf_counter() + float(seconds)
        while time.perf_counter() < until:
            times.append(seconds_of(trip))
        return statistics.median(times) * 1e6


def throughput(tasks, window):
    with ProcessPoolExecutor(1) as pool:
        def run(count):
            outstanding = collections.deque()
            for _ in range(count):
                if len(outstanding) == int(window):
                    outstanding.popleft().result()
                outstanding.append(pool.submit(noop))
            while outstanding:
                outstanding.popleft().result()

        run(int(window))
        return int(tasks) / seconds_of(lambda: run(int(tasks))) / 1e3


def efficiency_of_map(workers, items, microseconds, chunksize):
    fastest = min(seconds_of(lambda: spin(10_000)) for _ in range(30))
    steps = max(1, round(float(microseconds) * 1e-6 / fastest * 10_000))
    inputs = [steps] * int(items)
    serial = seconds_of(lambda: [spin(n) for n in inputs])
    with ProcessPoolExecutor(int(workers)) as pool:
        list(pool.map(spin, [steps] * 16 * int(workers)))
        parallel = seconds_of(lambda: list(pool.map(spin, inputs, chunksize=int(chunksize))))
    return serial / int(workers) / parallel * 100


def large_array(what, mebibytes, repeats):
    doubles = int(mebibytes) * 2**20 // 8
    data = numpy.ones(doubles) if numpy else array.array("d", [1.0]) * doubles
    function = {"echo": echo, "touch": touch}[what]
    with ProcessPoolExecutor(1) as pool:
        trip = lambda: pool.submit(function, data).result()  # noqa: E731
        result = trip()
        if (len(result) if what == "echo" else result * PAGE_DOUBLES) != doubles:
            raise RuntimeError("a wrong result")
        return statistics.median(seconds_of(trip) for _ in range(int(repeats))) * 1e3


if __name__ == "__main__":
    signal.alarm(LONGEST_RUN_SECONDS)
    command, *arguments = sys.argv[1:]
    print({"version": version, "round_trip": round_trip, "throughput": throughput, "map": efficiency_of_map,
           "array": large_array}[command](*arguments))
