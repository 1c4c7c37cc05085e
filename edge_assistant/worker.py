"""One mailbox, one owner of a model. A job is a generator of news; closing it is cancelling it.

A job yields an event when there is news, and None when it has to wait (a full loudspeaker queue) and may be called again.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Protocol, Self

from edge_assistant.frames import Failed, WorkEvent

Job = Generator[WorkEvent | None, None, None]
Post = Callable[[WorkEvent], None]

KEEP = 1 << 62
"""The reply number of a job that is never dropped: audio must reach the cache whatever happens."""


class Worker(Protocol):
    """Does jobs one after the other, and posts what they tell."""

    def do(self, reply: int, job: Job) -> None:
        """Put a job into the mailbox."""
        ...

    def drop(self, reply: int) -> None:
        """Give up the jobs of this reply and of replies before it; the one at work stops at its next yield."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop: what is in the mailbox is not done."""
        ...


class ThreadWorker:
    """A worker with a thread of its own."""

    def __init__(self, name: str, post: Post) -> None:
        self._name, self._post = name, post
        self._jobs: queue.SimpleQueue[tuple[int, Job] | None] = queue.SimpleQueue()
        self._wanted = 0  # only the deciding thread writes it: no lock
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def do(self, reply: int, job: Job) -> None:
        """Put a job into the mailbox."""
        self._jobs.put((reply, job))

    def drop(self, reply: int) -> None:
        """Give up the jobs of this reply and of replies before it."""
        self._wanted = reply + 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop at the next yield and wait for it."""
        self.drop(KEEP)
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            reply, job = item
            try:
                while reply >= self._wanted:
                    event = next(job)
                    if event is not None:
                        self._post(event)
            except StopIteration:
                continue
            except Exception as error:  # noqa: BLE001 - the border of a model: every fault becomes an event
                self._post(Failed(reply, self._name, error))
            job.close()


class CrankWorker:
    """A worker without a thread: whoever owns the loop turns the crank, so that the same input gives the same run."""

    def __init__(self, name: str, post: Post) -> None:
        self._name, self._post = name, post
        self._jobs: deque[tuple[int, Job]] = deque()
        self._wanted = 0

    def do(self, reply: int, job: Job) -> None:
        """Put a job into the mailbox."""
        self._jobs.append((reply, job))

    def drop(self, reply: int) -> None:
        """Give up the jobs of this reply and of replies before it."""
        self._wanted = reply + 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close what was not done."""
        for _, job in self._jobs:
            job.close()
        self._jobs.clear()

    def step(self) -> bool:
        """Do the next piece of work; False if there is none, or it has to wait."""
        if not self._jobs:
            return False
        reply, job = self._jobs[0]
        event = None
        try:
            if reply >= self._wanted:
                event = next(job)
                if event is None:
                    return False
                self._post(event)
                return True
        except StopIteration:
            pass
        except Exception as error:  # noqa: BLE001 - the border of a model: every fault becomes an event
            self._post(Failed(reply, self._name, error))
        self._jobs.popleft()
        job.close()
        return True
