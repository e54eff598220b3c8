"""Credential providers at the end of a process and over a fork: they delay neither, whatever they do."""

from __future__ import annotations

import pytest

from tests.lifecycle.process import SLOW, run

LIMIT = 3.0

PROVIDERS = """
import asyncio, threading
from datetime import datetime, timedelta, timezone
id_, secret = os.environ["LIFECYCLE_KEYS"].split(" ")
calls = []
def answer(seconds=None):
    end = None if seconds is None else datetime.now(timezone.utc) + timedelta(seconds=seconds)
    return {"access_key_id": id_, "secret_access_key": secret, "expires_at": end}
def sleeper():
    calls.append(os.getpid())
    time.sleep(60)
def never():
    calls.append(os.getpid())
    threading.Event().wait()
def refresher():
    # The first keys end soon, so that new ones are fetched at once, which then takes its time.
    calls.append(os.getpid())
    if len(calls) > 1:
        time.sleep(60)
    return answer(100)
async def later():
    calls.append(os.getpid())
    await asyncio.sleep(60)
def user():
    return connect(credential_provider=PROVIDER)
def tolerant(call):
    try:
        call()
    except BaseException:
        pass
"""

HANGING = {"sleeper": "sleeper", "never": "never", "async": "later"}

USES = {
    "a-daemon-thread": """
for _ in range(4):
    threading.Thread(target=tolerant, args=(lambda: user().head(KEY),), daemon=True).start()
until(lambda: calls)
""",
    "a-loop": """
async def main():
    tasks = [asyncio.ensure_future(user().head_async(KEY)) for _ in range(4)]
    while not calls:
        await asyncio.sleep(0.005)
asyncio.run(main())
""",
    "a-loop-left-open": """
loop = asyncio.new_event_loop()
tasks = [loop.create_task(user().head_async(KEY)) for _ in range(4)]
while not calls:
    loop.run_until_complete(asyncio.sleep(0.005))
import warnings
warnings.simplefilter("ignore")
""",
    "a-list-and-a-put": """
for call in (lambda: user().list().collect(), lambda: user().put("new", bytes(100))):
    threading.Thread(target=tolerant, args=(call,), daemon=True).start()
until(lambda: len(calls) >= 1)
""",
}


@pytest.mark.parametrize("use", ["a-daemon-thread", "a-loop", "a-list-and-a-put"])
@pytest.mark.parametrize("kind", HANGING)
def test_a_process_ends_while_a_provider_is_asked(server, kind, use):
    script = run(server, PROVIDERS.replace("PROVIDER", HANGING[kind]) + USES[use], limit=20)
    assert script.seconds < LIMIT * SLOW, f"{script.seconds:.2f} s"


def test_a_process_ends_while_keys_are_renewed_ahead_of_time(server):
    body = PROVIDERS.replace("PROVIDER", "refresher")
    body += """
on = user()
end = time.monotonic() + 5
while len(calls) < 2:
    assert on.head(KEY)["size"] == SIZE
    assert time.monotonic() < end
"""
    script = run(server, body, limit=20)
    assert script.seconds < LIMIT * SLOW, f"{script.seconds:.2f} s"


@pytest.mark.parametrize("kind", HANGING)
def test_a_process_ends_after_providers_were_given_up(server, kind):
    """Their threads still hang, and the loops of async ones have been closed."""
    body = PROVIDERS.replace("PROVIDER", HANGING[kind])
    body += """
from s3ext import _providers, exceptions
_providers.PATIENCE = 0.1
on = user()
for _ in range(2):
    try:
        on.head(KEY)
    except exceptions.UnauthenticatedError as error:
        assert "did not answer within 0.1 s" in str(error), error
    else:
        raise AssertionError
assert len(calls) == 2
_providers.PATIENCE = 60.0
check(connect(credential_provider=answer))
"""
    script = run(server, body, limit=20)
    assert script.seconds < LIMIT * SLOW, f"{script.seconds:.2f} s"


def test_a_provider_that_ends_the_process_ends_it(server):
    body = (
        PROVIDERS.replace("PROVIDER", "last")
        + """
def last():
    sys.stdout.flush()
    os._exit(0)
tolerant(lambda: user().head(KEY))
os._exit(5)
"""
    )
    script = run(server, body)
    assert script.seconds < LIMIT * SLOW, f"{script.seconds:.2f} s"


def test_a_provider_that_is_first_asked_at_the_end_still_answers(server):
    """In an atexit function that was registered before the package, so it runs after the package's."""
    body = (
        PROVIDERS.replace("PROVIDER", "answer")
        + """
import atexit
on = user()
@atexit.register
def last():
    assert on.head(KEY)["size"] == SIZE
    print("done", flush=True)
"""
    )
    run(server, body)


@pytest.mark.fork
@pytest.mark.parametrize("ending", ["os._exit", "sys.exit"])
@pytest.mark.parametrize("kind", HANGING)
def test_a_fork_while_a_provider_hangs(server, kind, ending):
    """Neither parent nor child waits for it; the child's own store asks for itself."""
    body = (
        PROVIDERS.replace("PROVIDER", HANGING[kind])
        + USES["a-daemon-thread"]
        + f"""
good = connect(credential_provider=answer)
begun = time.monotonic()
def work():
    check(good)
    check(connect(credential_provider=answer))
    check()
wait = fork(work, {ending!r})
wait()
assert time.monotonic() - begun < 2 * {SLOW}, time.monotonic() - begun
check(good)
"""
    )
    script = run(server, body, limit=20)
    assert script.seconds < (LIMIT + 2) * SLOW, f"{script.seconds:.2f} s"


@pytest.mark.fork
def test_a_provider_that_forks(server):
    """The fork happens on the thread of the refresh; one child works with its own store, one just ends."""
    body = (
        PROVIDERS.replace("PROVIDER", "forker")
        + """
waits = []
def forker():
    waits.append(fork(check))
    waits.append(fork(lambda: None))
    return answer()
check(user())
assert len(waits) == 2
for wait in waits:
    wait()
check()
"""
    )
    run(server, body, limit=20)
