"""watch.py: what `flow watch` of sluiced tells, from a moment that is known: a client that was only just started may not have asked
yet when what it should hear of happens."""
import contextlib
import http.client
import json
import urllib.parse

import netlab
import talk
from test_api import Connection


class Watch:
    """It is sluiced's watcher as soon as it is made. `events` grows as they come."""

    def __init__(self, switch, words=""):
        self.events = []
        self.c = Connection(switch)
        self.c.request("GET", "/v1/flows/watch?" + urllib.parse.urlencode({"filter": words} if words else {}))
        self.socket = self.c.sock
        self.socket.settimeout(None)
        self.answer = self.c.getresponse()
        assert self.answer.status == 200, self.answer.read()
        self.thread = talk.Thread(self._read)

    def _read(self):
        with contextlib.suppress(http.client.HTTPException, OSError):
            for line in self.answer:
                self.events.append(json.loads(line))

    def until(self, what, condition, timeout=15):
        """The first event of which the condition is true, when it comes."""
        return netlab.wait_for(what, lambda: next((e for e in list(self.events) if condition(e)), None), timeout)

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(2)
        self.thread.join()
        self.c.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
