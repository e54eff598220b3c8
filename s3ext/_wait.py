"""Running operations: in the caller's thread, on the I/O thread for asyncio, and two drivers of generators.

What s3ext does is written once, as generators that yield *effects* and are sent their outcome (see
`_operations`). `run_sync` and `run_async` drive them to the end:

    effect               meaning                                      sync                     async
    Operation            run it to the end (or wait, if begun)        in the caller's thread   on the I/O
    thread Begin(operations)    hand them to the I/O thread, do not wait     the same                 the same
    Slot(operation)      wait until a fed upload has room, or ended   in slices of 50 ms       a completion
    Blocking(function)   call what may block (reading a file)         called                   in an executor
    Awaited(function)    await what the caller's function gives       refused                  awaited
    Pause(seconds)       wait                                         sleeps                   sleeps
    Abort(operation)     cancel, wait for what it clears up           in slices of 50 ms       for its token
    Item(value)          a piece of a stream: `step_sync` and `step_async` return it

Sync waits return to Python every 50 ms, so that signals work. A KeyboardInterrupt cancels the operation,
waits until C has let go of the caller's memory, and goes on.

For asyncio each event loop has one completion queue. Submissions are collected and handed over once per turn
of the loop; completions arrive in batches through one descriptor. A cancelled task is told at once, while its
operation, and with it the buffers that C may still touch, stays registered until the core has confirmed its
end.

Invariants: one thread or task at a time drives a generator (see `_claim`). An operation is freed exactly
once, by `Operation.release` or, when that came too early, by the queue that drained its token: whoever
takes it out of `LoopQueue.abandoned`. One that outlives its step (`Begin`) has holders: its handle lives
until whoever waits for it is through, even if another thread frees it meanwhile. A queue refers to its loop
weakly; it is closed when the loop is collected, or when another loop's queue is made after the loop was
closed.
"""

from __future__ import annotations

import weakref
from itertools import count
from time import monotonic, sleep

from s3ext import exceptions
from s3ext._errors import plain_failure
from s3ext._ffi import COMPLETION, COMPLETIONS, NULL, at_exit, at_fork, ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Awaitable, Callable, Generator, Sequence
    from typing import Any, TypeAlias, TypeVar

    from s3ext._clients import Client
    from s3ext._ffi import CData

    Result = TypeVar("Result")
    Steps: TypeAlias = Generator["Effect", Any, Result]

__all__ = [
    "Abort",
    "Awaited",
    "Begin",
    "Blocking",
    "Effect",
    "Item",
    "Operation",
    "Pause",
    "Slot",
    "run_async",
    "run_sync",
    "step_async",
    "step_sync",
]

SLICE_MS = 50
BATCH = 256
ABORT_SECONDS = 20.0
"""How long an abort is waited for; the core gives its last request 15 s."""

NEW, BEGUN, DONE, FREED = range(4)


class Operation:
    """A handle of the core's, with what has to outlive it.

    Args:
        handle: What an `s3ext_op_*` function returned.
        client: The client that it belongs to.
        keep: Buffers that the core reads or writes until the operation is done; None for none.

    Raises:
        MemoryError: There is no handle.
    """

    __slots__ = ("client", "future", "handle", "holders", "keep", "queue", "room", "state", "token")

    client: Client
    handle: CData
    keep: object
    state: int
    queue: LoopQueue | None
    holders: list[bool] | None
    token: int
    future: Future[None]
    room: Future[None] | None

    def __init__(self, handle: CData, client: Client, keep: object = None) -> None:
        if not handle:
            raise MemoryError("no memory for an operation")
        self.handle = handle
        self.client = client
        self.keep = keep
        self.state = NEW
        self.queue = None
        self.holders = None

    def release(self) -> None:
        """Free the operation; cancel it first if it is under way. Idempotent, from any thread."""
        state = self.state
        if state == FREED:
            return
        if state == BEGUN:
            if self.queue is not None and self.queue.abandon(self):
                return
            if self.queue is None and self.keep is not None:
                lib.s3ext_op_cancel(self.handle)
                _see_the_end(lib.s3ext_op_wait, self.handle)
        self.free()

    def end_export(self) -> None:
        """Let go of a buffer of the caller's after a failure, once the core is through with it.

        The frames of a traceback may keep it exported for long; and CPython 3.11 crashes when its collector
        finds a memoryview with an export in a cycle, which a kept exception easily makes.
        """
        keep, self.keep = self.keep, None
        if isinstance(keep, ffi.CData):
            ffi.release(keep)

    def share(self) -> None:
        """Let threads wait for the operation while another may free it."""
        # A list as a count: to append and to pop are atomic, and only who pops the last one gets the True.
        # A finaliser would not do, because the collector may call it before those that still use the handle.
        self.holders = [True]

    def hold(self) -> bool:
        """Keep the handle alive until `let_go`; False if it was freed already."""
        holders = self.holders
        if holders is None:  # nobody else knows of the operation
            return self.state != FREED
        holders.append(False)
        if holders[0]:
            return True
        holders.pop()
        return False

    def let_go(self) -> None:
        """Undo `hold`; frees the handle if that was asked for meanwhile and nobody else holds it."""
        if self.holders is not None and self.holders.pop():
            lib.s3ext_op_free(self.handle)

    def free(self) -> None:
        """Let go of the handle and of the buffers; only for who knows that the core is through with them.

        To be called once. If others wait for the operation, it is cancelled, and the last of them frees it.
        """
        self.state = FREED
        if self.holders is None:
            lib.s3ext_op_free(self.handle)
        else:
            lib.s3ext_op_cancel(self.handle)
            self.let_go()
        self.keep = None


class Begin:
    """Effect: hand operations to the I/O thread and go on."""

    __slots__ = ("operations",)

    def __init__(self, *operations: Operation) -> None:
        self.operations = operations


class Slot:
    """Effect: wait until a fed upload has room for a part, or has ended."""

    __slots__ = ("operation",)

    def __init__(self, operation: Operation) -> None:
        self.operation = operation


class Blocking:
    """Effect: call a function that may block, and be sent its result. It must not raise StopIteration."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function


class Awaited:
    """Effect: call a function and await what it returns, and be sent the result."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[], Awaitable[object]]) -> None:
        self.function = function


class Abort:
    """Effect: cancel an operation that was begun, and wait until it has cleared up, but not for ever."""

    __slots__ = ("operation",)

    def __init__(self, operation: Operation) -> None:
        self.operation = operation


class Pause:
    """Effect: wait for some time."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Item:
    """Effect: hand out a piece of a stream."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


Effect = Operation | Begin | Slot | Blocking | Awaited | Abort | Pause | Item


# ---- sync ----


def run_sync(steps: Steps[Result]) -> Result:
    """Drive a generator of effects to its end in this thread.

    Returns:
        What the generator returned.
    """
    try:
        effect = next(steps)
        while True:
            if type(effect) is Operation:
                if effect.state == NEW:
                    _run_here(effect)
                else:
                    _wait_here(effect)
                effect = steps.send(None)
            else:
                effect = _act(steps, effect)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        steps.close()


def step_sync(steps: Steps[None]) -> Any:
    """Drive a stream's generator to its next Item.

    Returns:
        The item's value.

    Raises:
        StopIteration: The stream is exhausted.
        ValueError: Another thread or task is at it.
    """
    _claim(steps)
    try:
        effect = next(steps)
        while True:
            if type(effect) is Item:
                return effect.value
            if type(effect) is Operation:
                if effect.state == NEW:
                    _run_here(effect)
                else:
                    _wait_here(effect)
                effect = steps.send(None)
            else:
                effect = _act(steps, effect)
    except BaseException:
        steps.close()
        raise
    finally:
        del _claimed[steps]


_claimed: dict[Any, object] = {}


def _claim(steps: Steps[None]) -> None:
    """Keep others from resuming a stream's generator before the operation that it waits for has ended.

    Raises:
        ValueError: Another thread or task is at it.
    """
    mine = object()
    if _claimed.setdefault(steps, mine) is not mine:
        raise ValueError("the stream is being read by another thread or task; each needs a stream of its own")


def _act(steps: Steps[Result], effect: Effect) -> Effect:
    """Do what a rarer effect asks for in this thread, and return the generator's next effect."""
    outcome = None
    try:
        if isinstance(effect, Begin):
            _begin_here(effect.operations)
        elif isinstance(effect, Slot):
            while not lib.s3ext_upload_wait(effect.operation.handle, SLICE_MS):
                pass
        elif isinstance(effect, Blocking):
            outcome = effect.function()
        elif isinstance(effect, Abort):
            _abort_here(effect.operation)
        elif isinstance(effect, Pause):
            sleep(effect.seconds)
        elif isinstance(effect, Awaited):
            raise ValueError("Async input not allowed in 'put'. Use 'put_async'.")  # noqa: TRY004, TRY301 - obstore's
    except Exception as error:  # noqa: BLE001 - it is the generator's to handle
        return steps.throw(error)
    return steps.send(outcome)


def _begin_here(operations: Sequence[Operation]) -> None:
    """Hand operations to the I/O thread, without a queue: who waits asks for each."""
    for operation in operations:
        operation.share()
    code = lib.s3ext_submit(NULL, [operation.handle for operation in operations], NULL, len(operations))
    if code:
        raise plain_failure(code)
    for operation in operations:
        operation.state = BEGUN


def _run_here(operation: Operation) -> None:
    """Run an operation in this thread, in slices, so that Python can handle signals between them."""
    client = operation.client
    if client.provider is not None:
        _note_use(client, None)
    handle = operation.handle
    try:
        while not lib.s3ext_op_run(handle, SLICE_MS):
            pass
    except BaseException:
        lib.s3ext_op_cancel(handle)
        _see_the_end(lib.s3ext_op_run, handle)
        operation.state = DONE
        operation.end_export()
        raise
    operation.state = DONE


def _wait_here(operation: Operation) -> None:
    """Wait in this thread for an operation that was begun, in whatever way."""
    if operation.state == BEGUN and operation.hold():
        try:
            while not lib.s3ext_op_wait(operation.handle, SLICE_MS):
                pass
        finally:
            operation.let_go()
    _note_end(operation)


def _abort_here(operation: Operation) -> None:
    """Cancel an operation that was begun, and wait in this thread for its very end."""
    if operation.state != BEGUN or not operation.hold():
        return
    try:
        lib.s3ext_op_cancel(operation.handle)
        end = monotonic() + ABORT_SECONDS
        while not lib.s3ext_op_wait_end(operation.handle, SLICE_MS) and monotonic() < end:
            pass
    finally:
        operation.let_go()


def _note_end(operation: Operation) -> None:
    """Record that an operation which was begun has ended, or raise why it never ran."""
    if operation.queue is None:
        if operation.state == BEGUN:
            operation.state = DONE
    elif operation.future.done():
        operation.future.result()
    # Else the token is still to come, and the queue sets the state, or the queue was closed.


def _see_the_end(wait: Callable[[CData, int], int], handle: CData) -> None:
    """Wait until a cancelled operation has ended, whatever signals come: C may still touch its buffers."""
    while True:
        try:
            if wait(handle, SLICE_MS):
                return
        except BaseException:  # noqa: BLE001, S112 - of a signal handler; one is on its way to the caller already
            continue


def _note_use(client: Client, loop: AbstractEventLoop | None) -> None:
    """Remember which loop used a client last: that is where an async credential provider is run."""
    client.loop = None if loop is None else weakref.ref(loop)


# ---- asyncio ----

# Filled at the first async call: importing asyncio costs more than all of s3ext.
_get_running_loop: Callable[[], AbstractEventLoop] | None = None


class LoopQueue:
    """The completion queue of one event loop.

    All methods but `abandon` are called on the loop's thread.
    """

    __slots__ = ("__weakref__", "abandoned", "batch", "handle", "loop", "outbox", "pending", "tokens")

    def __init__(self, loop: AbstractEventLoop) -> None:
        handle = lib.s3ext_queue_new()
        self.handle = handle or None
        if not handle:
            raise MemoryError("no completion queue: out of memory or of file descriptors")
        self.batch = ffi.new(COMPLETIONS, BATCH)
        self.tokens = count(1)
        self.outbox: list[Operation] = []
        self.pending: dict[int, Operation] = {}
        self.abandoned: dict[int, Operation] = {}
        # The loop holds the reader, which holds this object, and nothing else does for long.
        self.loop = weakref.ref(loop)
        loop.add_reader(lib.s3ext_queue_fd(handle), self.drain)

    def submit(self, loop: AbstractEventLoop, operation: Operation) -> Future[None]:
        """Put an operation into the next batch; its future."""
        if self.handle is None:
            raise exceptions.GenericError("the event loop was that of the parent, before a fork")
        client = operation.client
        if client.provider is not None:
            _note_use(client, loop)
        future = operation.future = loop.create_future()
        operation.room = None
        operation.queue = self
        operation.state = BEGUN
        token = operation.token = next(self.tokens)
        self.pending[token] = operation
        outbox = self.outbox
        outbox.append(operation)
        if len(outbox) == 1:
            loop.call_soon(self.flush)
        return future

    def flush(self) -> None:
        """Hand the batch to the core."""
        batch = self.outbox
        if not batch:
            return
        self.outbox = []
        pending = self.pending
        operations = []
        for operation in batch:
            if operation.token in pending:
                operations.append(operation)
            elif self.abandoned.pop(operation.token, None) is not None:
                operation.free()
        if not operations:
            return
        code = lib.s3ext_submit(
            self.handle,
            [operation.handle for operation in operations],
            [operation.token for operation in operations],
            len(operations),
        )
        if code:
            for operation in operations:
                self._settle(operation.token, plain_failure(code))

    def drain(self) -> None:
        """Take completions from the core and wake who waits for them."""
        if self.handle is None:
            return
        batch = self.batch
        taken = lib.s3ext_queue_drain(self.handle, batch, BATCH)
        if not taken:
            return
        pending = self.pending
        for token, kind, _ in COMPLETION.iter_unpack(ffi.buffer(batch, taken * COMPLETION.size)):
            if kind == 0:
                operation = pending.pop(token, None)
                if operation is None:
                    operation = self.abandoned.pop(token, None)
                    if operation is not None:
                        operation.free()
                    continue
                operation.state = DONE
                future = operation.future
                if not future.done():
                    future.set_result(None)
                if operation.room is not None:
                    _wake(operation.room)
            else:
                operation = pending.get(token)
                if operation is not None and operation.room is not None:
                    _wake(operation.room)

    def abandon(self, operation: Operation) -> bool:
        """Give up an operation that nobody waits for; whether the queue will free it when it has ended."""
        lib.s3ext_op_cancel(operation.handle)
        token = operation.token
        self.abandoned[token] = operation
        if self.pending.pop(token, None) is not None:
            return True
        # It ended meanwhile; who takes it out frees it.
        return self.abandoned.pop(token, None) is None

    def close(self) -> None:
        """End the queue's operations and free it; nothing may be submitted afterwards."""
        handle, self.handle = self.handle, None
        if handle is None:
            return
        lib.s3ext_queue_close(handle)
        for operation in self.pending.values():
            operation.state = DONE
        self.pending.clear()
        while self.abandoned:
            self.abandoned.popitem()[1].free()

    def inherit(self) -> None:
        """In the child of a fork: tell what waits for the parent's operations that they do not end here."""
        handle, self.handle = self.handle, None
        if handle is None:
            return
        lib.s3ext_queue_close(handle)  # which just closes the descriptor here
        self.outbox.clear()
        pending, self.pending = self.pending, {}
        for operation in pending.values():
            operation.state = DONE
            lib.s3ext_op_wait(operation.handle, 0)  # writes down why
            if lib.s3ext_op_result(operation.handle).code:
                operation.end_export()
            _tell(operation.future)
            _tell(operation.room)
        while self.abandoned:
            self.abandoned.popitem()[1].free()

    # A finaliser, and no weakref callback, because it runs while the buffers in `pending` are still there.
    def __del__(self) -> None:
        self.close()

    def _settle(self, token: int, error: Exception) -> None:
        """End an operation that the core did not take."""
        operation = self.pending.pop(token, None)
        if operation is None:
            operation = self.abandoned.pop(token, None)
            if operation is not None:
                operation.free()
            return
        operation.state = DONE
        if not operation.future.done():
            operation.future.set_exception(error)


_queues: dict[int, weakref.ref[LoopQueue]] = {}


def _queue_of(loop: AbstractEventLoop) -> LoopQueue:
    """Return the loop's completion queue, made at its first use."""
    known = _queues.get(id(loop))
    queue = None if known is None else known()
    if queue is not None and queue.loop() is loop:
        return queue
    _close_dead()
    queue = LoopQueue(loop)
    _queues[id(loop)] = weakref.ref(queue)
    return queue


def _close_dead() -> None:
    """Close the queues of closed loops, also those that a task which nobody collects keeps alive."""
    for key, known in list(_queues.items()):
        queue = known()
        loop = None if queue is None else queue.loop()
        if loop is None or loop.is_closed():
            _queues.pop(key, None)
            if queue is not None:
                queue.close()


def _wake(future: Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _tell(future: Future[None] | None) -> None:
    """Wake who waits in the child of a fork, if anybody is left to."""
    if future is not None:
        try:  # noqa: SIM105 - contextlib is not loaded
            _wake(future)
        except RuntimeError:  # The loop is closed, or was run by a thread that the child does not have.
            pass


def _running_loop() -> AbstractEventLoop:
    global _get_running_loop  # noqa: PLW0603 - filled once
    if _get_running_loop is None:
        from asyncio import get_running_loop  # noqa: PLC0415 - see _get_running_loop

        _get_running_loop = get_running_loop
    return _get_running_loop()


async def run_async(steps: Steps[Result]) -> Result:
    """Drive a generator of effects to its end on the running event loop.

    Returns:
        What the generator returned.
    """
    try:
        loop = _running_loop()
        queue = _queue_of(loop)
        effect = next(steps)
        while True:
            outcome = None
            if type(effect) is Operation:
                if effect.state == NEW:
                    await queue.submit(loop, effect)
                else:
                    await _wait_begun(queue, effect)
            else:
                try:
                    outcome = await _act_async(steps, effect, loop, queue)
                except Exception as error:  # noqa: BLE001 - it is the generator's to handle
                    effect = steps.throw(error)
                    continue
            effect = steps.send(outcome)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        _close(steps)


async def step_async(steps: Steps[None]) -> Any:
    """Drive a stream's generator to its next Item.

    Returns:
        The item's value.

    Raises:
        StopAsyncIteration: The stream is exhausted.
        ValueError: Another thread or task is at it.
    """
    _claim(steps)
    try:
        loop = _running_loop()
        queue = _queue_of(loop)
        effect = next(steps)
        while type(effect) is not Item:
            outcome = None
            if type(effect) is Operation:
                if effect.state == NEW:
                    await queue.submit(loop, effect)
                else:
                    await _wait_begun(queue, effect)
            else:
                try:
                    outcome = await _act_async(steps, effect, loop, queue)
                except Exception as error:  # noqa: BLE001 - it is the generator's to handle
                    effect = steps.throw(error)
                    continue
            effect = steps.send(outcome)
    except StopIteration:
        raise StopAsyncIteration from None
    except BaseException:
        _close(steps)
        raise
    finally:
        del _claimed[steps]
    return effect.value


async def _act_async(
    steps: Steps[Result], effect: Effect, loop: AbstractEventLoop, queue: LoopQueue
) -> object:
    """Do what a rarer effect asks for on the loop, and return its outcome."""
    if isinstance(effect, Begin):
        for operation in effect.operations:
            operation.share()
            # Nobody may ever wait for it: an exception that is never fetched is no news then.
            queue.submit(loop, operation).add_done_callback(_ignore)
        queue.flush()
    elif isinstance(effect, Slot):
        operation = effect.operation
        if operation.state == BEGUN:
            operation.room = loop.create_future()
            await operation.room
    elif isinstance(effect, Blocking):
        return await _in_executor(steps, effect.function, loop)
    elif isinstance(effect, Awaited):
        return await effect.function()
    elif isinstance(effect, Pause):
        from asyncio import sleep as pause  # noqa: PLC0415 - see _wait_begun

        await pause(effect.seconds)
    elif isinstance(effect, Abort):
        await _abort_async(queue, effect.operation)
    return None


async def _abort_async(queue: LoopQueue, operation: Operation) -> None:
    """Cancel an operation that was begun on this loop, and wait for its token: it comes at its very end."""
    if operation.state == BEGUN and operation.queue is queue:
        from asyncio import wait  # noqa: PLC0415 - see _wait_begun

        lib.s3ext_op_cancel(operation.handle)
        await wait((operation.future,), timeout=ABORT_SECONDS)


async def _wait_begun(queue: LoopQueue, operation: Operation) -> None:
    """Wait for an operation that was begun, here, on another loop, or by a sync call."""
    if operation.queue is queue:
        await operation.future
        return
    # Whoever mixes sync and async use, or loops, on one stream pays with polling.
    from asyncio import sleep  # noqa: PLC0415 - asyncio is loaded here, but not by importing s3ext

    if operation.state == BEGUN and operation.hold():
        pause = 0.0005
        try:
            while not lib.s3ext_op_wait(operation.handle, 0):
                await sleep(pause)
                pause = min(pause * 2, 0.02)
        finally:
            operation.let_go()
    _note_end(operation)


_busy: set[Any] = set()


async def _in_executor(
    steps: Steps[Result], function: Callable[[], object], loop: AbstractEventLoop
) -> object:
    """Call a function in the loop's executor; a cancelled caller leaves before it, the generator after it."""
    from asyncio import CancelledError, shield  # noqa: PLC0415 - see _wait_begun

    future = loop.run_in_executor(None, function)
    try:
        return await shield(future)
    except CancelledError:
        if not future.done():
            # The function may be writing into the core's memory: what frees that has to wait.
            _busy.add(steps)
            future.add_done_callback(lambda _: _leave(steps))
        raise


def _leave(steps: Steps[Result]) -> None:
    _busy.discard(steps)
    steps.close()


def _close(steps: Steps[Result]) -> None:
    if steps not in _busy:
        steps.close()


def _ignore(future: Future[None]) -> None:
    """Mark a future's exception as seen."""
    if not future.cancelled():
        future.exception()


def _drop() -> None:
    """Forget the queues, after a fork: their operations run in the parent."""
    for known in list(_queues.values()):
        queue = known()
        if queue is not None:
            queue.inherit()
    _queues.clear()
    _busy.clear()


def _stop() -> None:
    """Free what the core has let go of at its shutdown."""
    for known in list(_queues.values()):
        queue = known()
        if queue is not None:
            queue.close()
    _queues.clear()


at_fork(_drop)
at_exit(_stop)
