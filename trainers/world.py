"""world: the processes of one run, what they tell each other, and how they end together.

Every process runs the same program on the same seeds, so all know the same examples, stages and
generators. What is dear (answers, verdicts, gradients) is dealt out and brought together again;
weights of a batch add up over all of it, so gradients are summed, never averaged. A world of one
imports nothing and copies nothing.

torchrun's variables say who a process is: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from harness.codec import plain, revive
from harness.errors import HarnessError, LostProcess, UsageError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

PATIENCE = timedelta(minutes=30)
"""How long one process waits for another: longer than the slowest share of one step."""
BUCKET = 1 << 26
"""Numbers that travel in one message at most."""


@dataclass(frozen=True)
class World:
    """Who this process is among those of the run. The default is a world of one."""

    rank: int = 0
    size: int = 1
    _watch: Watch | None = field(default=None, repr=False, compare=False)

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks for all."""
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """What every process gives, in order of rank; plain values (see `harness.codec.plain`)."""
        if self.size == 1:
            return [value]
        import torch
        from torch import distributed

        data = bytearray(msgspec.msgpack.encode(plain(value)))
        sizes = [torch.zeros(1, dtype=torch.long) for _ in range(self.size)]
        with self._meeting():
            distributed.all_gather(sizes, torch.tensor([len(data)]))
            room = max(int(size) for size in sizes)
            mine = torch.zeros(room, dtype=torch.uint8)
            mine[: len(data)] = torch.frombuffer(data, dtype=torch.uint8)
            found = [torch.empty_like(mine) for _ in sizes]
            distributed.all_gather(found, mine)
        texts = [x[: int(size)].numpy().tobytes() for x, size in zip(found, sizes, strict=True)]
        return [revive(msgspec.msgpack.decode(text)) for text in texts]

    def tell(self, value: Any) -> Any:
        """What the first process gives, for all."""
        return value if self.size == 1 else self.gather(value if self.first else None)[0]

    def share(self, table: dict[int, Any]) -> dict[int, Any]:
        """The tables of all processes as one; each number is one process's."""
        if self.size == 1:
            return table
        told = self.gather(list(table.items()))
        return {number: value for pairs in told for number, value in pairs}

    def any(self, fact: bool) -> bool:
        """Whether it holds anywhere."""
        return fact if self.size == 1 else self.count(int(fact)) > 0

    def count(self, number: int) -> int:
        """The sum over all processes."""
        if self.size == 1:
            return number
        import torch

        told = torch.tensor([number])
        self.sum_([told])
        return int(told)

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Add up in place over all processes; all give the same shapes in the same order."""
        if self.size == 1:
            return
        import torch
        from torch import distributed

        with self._meeting():
            for bucket in _buckets(tensors):
                flat = torch.cat([x.detach().flatten() for x in bucket])
                distributed.all_reduce(flat)
                parts = flat.split([x.numel() for x in bucket])
                for x, total in zip(bucket, parts, strict=True):
                    x.detach().copy_(total.view_as(x))

    def same_(self, tensors: Sequence[Tensor]) -> None:
        """Give all processes the first one's numbers, in place."""
        if self.size == 1:
            return
        from torch import distributed

        with self._meeting():
            for x in tensors:
                whole = x.detach().contiguous()
                distributed.broadcast(whole, 0)
                x.detach().copy_(whole)

    def sum_gradients(self, parameters: Sequence[Parameter]) -> None:
        """Gradients of the whole batch, everywhere. None stays only where nobody has any.

        Those of shards have met already, in the backward pass, and come as a mean.
        """
        if self.size == 1:
            return
        import torch

        from trainers.shards import any_shard

        if any_shard(parameters):
            for weight in parameters:
                if weight.grad is not None:
                    weight.grad.mul_(self.size)
            return

        told = torch.tensor([weight.grad is not None for weight in parameters], dtype=torch.long)
        self.sum_([told])
        learned = [weight for weight, n in zip(parameters, told.tolist(), strict=True) if n]
        for weight in learned:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        self.sum_([weight.grad for weight in learned if weight.grad is not None])

    @contextmanager
    def _meeting(self) -> Iterator[None]:
        """Collective calls; where a peer is gone, its own words are what people should read."""
        try:
            yield
        except RuntimeError as error:  # what torch raises when a connection ends or time is up
            if self._watch is not None:
                self._watch.await_reason()
            late = "imed out" in str(error) or "imeout" in str(error)
            why = f"away for {PATIENCE.seconds // 60} minutes" if late else "killed or ended"
            raise LostProcess(
                f"process {self.rank} of {self.size} waits in vain: another one was {why} (out of "
                "memory?). The same command goes on from the last checkpoint"
            ) from error


ALONE = World()


def deal(
    groups: Sequence[int], sizes: Sequence[int], hands: int, *, whole: bool
) -> list[list[int]]:
    """Rows to each of so many hands, about equally dear; a group stays together where it can.

    `groups` numbers each row's group and `sizes` says what a row costs. With `whole` a group is
    never cut; else one that is dearer than an equal share is. The rows of a hand are in order.
    """
    fair = -(-sum(sizes) // hands)
    units: list[list[int]] = []
    room: dict[int, int] = {}
    place: dict[int, int] = {}
    for row, (group, size) in enumerate(zip(groups, sizes, strict=True)):
        if group not in place or (not whole and room[group] < size):
            place[group], room[group] = len(units), fair
            units.append([])
        units[place[group]].append(row)
        room[group] -= size
    costs = [sum(sizes[row] for row in unit) for unit in units]
    held: list[list[int]] = [[] for _ in range(hands)]
    loads = [0] * hands
    for unit in sorted(range(len(units)), key=lambda n: (-costs[n], n)):
        hand = loads.index(min(loads))
        held[hand] += units[unit]
        loads[hand] += costs[unit]
    return [sorted(rows) for rows in held]


@contextmanager
def joined() -> Iterator[World]:
    """The world that the environment describes, of one where it describes none.

    An error anywhere ends all processes: the first to fail says why, the others end with its code.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    rank = int(os.environ["RANK"])
    if not 0 <= rank < size:
        raise UsageError(f"RANK = {rank} in a world of {size}; torchrun sets both")
    watch = Watch(rank, size)
    try:
        watch.begin()
        yield World(rank, size, watch)
    except BaseException as error:
        code = error.code if isinstance(error, HarnessError | SystemExit) else 1
        code = 130 if isinstance(error, KeyboardInterrupt) else code
        if not watch.fail(code if isinstance(code, int) else 1):
            sys.stdout.flush()
            os._exit(watch.code)  # the first one speaks; torch's threads may wait for it
        if isinstance(error, HarnessError) and not isinstance(error, LostProcess):
            error.args = (f"process {rank} of {size}: {error}",)
        raise
    else:
        watch.end()


class Watch:
    """Looks whether another process of the run has failed, and ends this one if so."""

    def __init__(self, rank: int, size: int) -> None:
        from torch.distributed import PrefixStore, TCPStore  # type: ignore[reportPrivateImportUsage]

        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        hosted = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        self.rank, self.size = rank, size
        self.code = 1
        """What the process that failed first ended with."""
        store: Any = TCPStore(
            host, port, None if hosted else size, rank == 0 and not hosted, timeout=PATIENCE
        )
        again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        self.store = PrefixStore(f"harness/{again}", store)
        self.looking = PrefixStore(f"harness/{again}", store.clone())
        self.over = threading.Event()

    def begin(self) -> None:
        """Meet the others, on this process's card if there is one."""
        import torch
        from torch import distributed

        backend = "gloo"
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
            backend = "cpu:gloo,cuda:nccl"
        distributed.init_process_group(
            backend, store=self.store, rank=self.rank, world_size=self.size, timeout=PATIENCE
        )
        threading.Thread(target=self._look, daemon=True, name="watch").start()

    def fail(self, code: int) -> bool:
        """Tell the others; whether nobody else has failed before."""
        self.over.set()
        try:
            told = self.store.compare_set("failed", "", f"{self.rank} {code}").decode()
        except RuntimeError:
            return True  # nobody is left to tell
        first, _, code_of_first = told.partition(" ")
        self.code = int(code_of_first)
        return int(first) == self.rank

    def await_reason(self, seconds: float = 5.0) -> None:
        """After a lost connection: give the process that failed the time to say so."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.over.is_set():
            time.sleep(0.1)

    def end(self) -> None:
        """All is done: leave, whatever the others still do."""
        from torch import distributed

        self.over.set()
        distributed.destroy_process_group()

    def _look(self) -> None:
        missed = 0
        while not self.over.wait(0.5):
            try:
                failed = self.looking.check(["failed"])
                missed = 0
            except RuntimeError:  # the store's host is gone, and with it the run
                missed += 1
                failed = missed > 4
            if failed and not self.over.is_set():
                self.code = self._told()
                sys.stdout.flush()
                os._exit(self.code)  # the main thread may wait for a process that is no more

    def _told(self) -> int:
        try:
            return int(self.looking.get("failed").decode().partition(" ")[2])
        except (RuntimeError, ValueError):
            return LostProcess.code


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one kind, in order, up to a size."""
    kinds: dict[Any, list[Tensor]] = {}
    for x in tensors:
        kinds.setdefault((x.dtype, x.device), []).append(x)
    for same in kinds.values():
        bucket: list[Tensor] = []
        held = 0
        for x in same:
            if bucket and held + x.numel() > BUCKET:
                yield bucket
                bucket, held = [], 0
            bucket.append(x)
            held += x.numel()
        yield bucket
