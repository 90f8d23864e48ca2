"""The asynchronous SDK, called as if it were the other one, so that one test speaks for both.

Nothing of the SDK is changed or replaced: a coroutine that it returns is run to its end on an event loop in a
thread beside the test.
"""

import asyncio
import inspect
import threading

SETTLE_SECONDS_MAX = 110


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def settle(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(SETTLE_SECONDS_MAX)

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


class Blocking:
    """An object of the asynchronous SDK whose methods return when they are done."""

    def __init__(self, inner, loop):
        self._inner, self._loop = inner, loop

    def __getattr__(self, name):
        return self._present(getattr(self._inner, name))

    def __repr__(self):
        return repr(self._inner)

    def _present(self, value):
        if type(value).__module__.startswith("leap0._async"):
            return Blocking(value, self._loop)
        if not callable(value):
            return value

        def call(*arguments, **named):
            given = [argument._inner if isinstance(argument, Blocking) else argument for argument in arguments]
            result = value(*given, **named)
            return self._present(self._loop.settle(result) if inspect.isawaitable(result) else result)

        return call
