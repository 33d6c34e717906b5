"""Calls the Pleo API with the access token of a PleoConnection, whose token Secret is mounted as a folder.

A rotation invalidates the token before it, and the file follows a moment later. So the token is read again for each
call, and a 401 means: wait until the file holds another one, then call once more. That is safe for every method, as a
request that was answered with 401 was not carried out. While a rotation is planned for about now, calls wait for it; and a
token that the API rejects for no such reason is reported, so that the operator refreshes it early.
"""

import datetime
import hashlib
import hmac
import json
import pathlib
import threading
import time
import urllib.error
import urllib.request

# How long a call waits for a usable token, in seconds. For as long, a refused token is not sent again; after that it is
# tried once more, in case the 401 had another cause.
PATIENCE = 120.0

# Calls wait from a moment before a planned rotation to so long after it, in seconds.
EARLY, WINDOW = 0.25, 3.0

# How long a token has been refused before that is reported, in seconds: another may be on its way.
REPORT_AFTER = 3.0

# When it is reported again, in seconds: after a report that was not taken, and after one that was.
RETRY_AFTER, REPORT_AGAIN = 10.0, 600.0


class ReauthRequired(Exception):
    """A user must authorize again, so there is no use in calling."""


class NoToken(Exception):
    """There was no usable token for as long as PATIENCE."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could carry the token to another host; none is followed."""

    def redirect_request(self, *_):
        return None


class Pleo:
    """Share one among all threads, so that a token refused to one is not sent by the others."""

    def __init__(self, folder="/var/run/pleo", on_refused=lambda: None, report_url=None):
        """`report_url` is the operator's for this connection; without it, nothing is reported."""
        self._report_url = report_url
        self._report_not_before = 0.0
        self._lock = threading.Lock()
        # Not by the proxy of the environment: the operator is in the cluster.
        self._direct = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))
        self._folder = pathlib.Path(folder)
        self._on_refused = on_refused
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._refused = (None, 0.0)

    def call(self, url, method="GET", body=None, headers=None, timeout=30):
        """Gives the response, as urlopen does; `body` is bytes. Statuses from 300 on raise urllib.error.HTTPError."""
        if not url.startswith("https://"):
            raise ValueError("a token is sent over HTTPS only")
        deadline = time.monotonic() + PATIENCE
        while True:
            token = self._usable(deadline)
            request = urllib.request.Request(url, body, headers or {}, method=method)
            request.add_header("Authorization", "Bearer " + token)
            try:
                return self._opener.open(request, timeout=timeout)
            except urllib.error.HTTPError as error:
                if error.code != 401:
                    raise
                error.close()
            self._refused = (token, time.monotonic())
            self._on_refused()

    def _usable(self, deadline):
        """Waits for a token that may be sent."""
        pause = 0.1
        while True:
            token, reason = self._look()
            if token is not None:
                return token
            left = deadline - time.monotonic()
            if left <= 0:
                raise NoToken(f"no usable token in {self._folder} for {PATIENCE:.0f} s: {reason}")
            time.sleep(min(pause, left))
            pause = min(2 * pause, 5.0)
            self._report()

    def _look(self):
        """Gives the token and None, or None and why to wait.

        The folder may be updated between the two files, so the token goes first: whatever is mixed up then ends in one
        more look or in a 401.
        """
        token, state = self._read("access_token"), self._read("state")
        refused, since = self._refused
        if state is None:
            return None, "there is no file state"
        if state == "ReauthRequired":
            raise ReauthRequired(f"a user must authorize again (state ReauthRequired in {self._folder})")
        if state in ("Pending", "Expired") or token is None:
            return None, "state " + state
        if token == refused and time.monotonic() - since <= PATIENCE:
            return None, "the API refused the current one"
        if self._is_due():
            return None, "it is refreshed in a moment"
        if not (token.isascii() and token.isprintable()):
            # The library would quote it in its error.
            raise ValueError("the token holds characters that no header can carry")
        return token, None

    def _is_due(self):
        """Whether the operator plans to rotate about now. Without a plan, or one that is not understood: no."""
        try:
            due = datetime.datetime.fromisoformat((self._read("refresh_at") or "").replace("Z", "+00:00"))
            late = (datetime.datetime.now(datetime.timezone.utc) - due).total_seconds()
        except (TypeError, ValueError):
            return False
        return -EARLY <= late < WINDOW

    def _report(self):
        """Reports the token that was refused. What is sent proves that this program has it; the token stays here."""
        token, since = self._refused
        now = time.monotonic()
        with self._lock:
            is_old = token is not None and now - since >= REPORT_AFTER
            if not self._report_url or not is_old or now < self._report_not_before or token != self._read("access_token"):
                return
            self._report_not_before = now + RETRY_AFTER
        proof = hmac.new(token.encode("latin-1"), b"pleo-operator rejection v1", hashlib.sha256).hexdigest()
        try:
            request = urllib.request.Request(self._report_url, json.dumps({"proof": proof}).encode(), method="POST")
            request.add_header("Content-Type", "application/json")
            with self._direct.open(request, timeout=5) as response:
                is_taken = response.status == 202
        except Exception:  # Whatever it is, it must not cost the call.
            return
        if is_taken:
            self._report_not_before = now + REPORT_AGAIN

    def _read(self, key):
        """Exactly as it is stored: tokens are opaque, and a text file would have its line ends changed."""
        try:
            return (self._folder / key).read_bytes().decode("latin-1")
        except FileNotFoundError:
            return None
