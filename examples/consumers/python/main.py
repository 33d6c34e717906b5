"""Calls an API every second with the token of a PleoConnection, and shows the result. It never prints a token.

PLEO_API_URL is what to call, PLEO_TOKEN_DIR where the token Secret is mounted (/var/run/pleo), PLEO_REPORT_URL where a token
that the API rejects is reported, and SSL_CERT_FILE a CA to trust in place of the system's.
"""

import os
import signal
import sys
import time
import urllib.error

from pleo import NoToken, Pleo, ReauthRequired


def main():
    # The first process of a container must ask for SIGTERM, or it never sees it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    url = os.environ.get("PLEO_API_URL") or sys.exit("set PLEO_API_URL to what is to be called")
    pleo = Pleo(
        os.environ.get("PLEO_TOKEN_DIR", "/var/run/pleo"),
        on_refused=lambda: print("401: refused; waiting for another token", flush=True),
        report_url=os.environ.get("PLEO_REPORT_URL"),
    )
    while True:
        try:
            with pleo.call(url) as response:
                print(response.status, response.read().decode(), flush=True)
        except ReauthRequired as error:
            # This program ends, so that you see it. A server would answer 503 and go on looking.
            sys.exit(f"pleo: {error}")
        except (NoToken, urllib.error.URLError, OSError) as error:
            print(error, flush=True)
        time.sleep(1)


if __name__ == "__main__":
    main()
