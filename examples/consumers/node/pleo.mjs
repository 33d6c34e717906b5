// Calls the Pleo API with the access token of a PleoConnection, whose token Secret is mounted as a folder.
//
// A rotation invalidates the token before it, and the file follows a moment later. So the token is read again for each
// call, and a 401 means: wait until the file holds another one, then call once more. That is safe for every method, as a
// request that was answered with 401 was not carried out. While a rotation is planned for about now, calls wait for it; and a
// token that the API rejects for no such reason is reported, so that the operator refreshes it early.

import { createHmac } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

// How long a call waits for a usable token, in milliseconds. For as long, a refused token is not sent again; after that it
// is tried once more, in case the 401 had another cause.
const PATIENCE = 120_000;

// Calls wait from a moment before a planned rotation to so long after it, in milliseconds.
const EARLY = 250;
const WINDOW = 3000;

// How long a token has been refused before that is reported, in milliseconds: another may be on its way.
const REPORT_AFTER = 3000;

// When it is reported again, in milliseconds: after a report that was not taken, and after one that was.
const RETRY_AFTER = 10_000;
const REPORT_AGAIN = 600_000;

/** A user must authorize again, so there is no use in calling. */
export class ReauthRequired extends Error {}

/** There was no usable token for as long as PATIENCE. */
export class NoToken extends Error {}

/** Share one in the whole program, so that a token refused to one call is not sent by the others. */
export class Pleo {
  #folder;
  #onRefused;
  #refused = { token: undefined, since: 0 };
  #reportUrl;
  #reportNotBefore = 0;

  /** `reportUrl` is the operator's for this connection; without it, nothing is reported. */
  constructor({ folder = "/var/run/pleo", onRefused = () => {}, reportUrl } = {}) {
    this.#folder = folder;
    this.#reportUrl = reportUrl;
    this.#onRefused = onRefused;
  }

  /** `fetch` with the token. `init.signal` ends the wait, too. The body must not be a stream: it may be sent twice. */
  async fetch(url, init = {}) {
    if (new URL(url).protocol !== "https:") throw new TypeError("a token is sent over HTTPS only");
    if (init.body instanceof ReadableStream) throw new TypeError("a stream cannot be sent twice");
    const deadline = performance.now() + PATIENCE;
    for (;;) {
      const token = await this.#usable(deadline, init.signal);
      const headers = new Headers(init.headers);
      headers.set("authorization", `Bearer ${token}`);
      // A redirect could carry the token to another host; none is followed.
      const response = await fetch(url, { redirect: "error", ...init, headers });
      if (response.status !== 401) return response;
      await response.body?.cancel();
      this.#refused = { token, since: performance.now() };
      this.#onRefused();
    }
  }

  // Waits for a token that may be sent.
  async #usable(deadline, signal) {
    for (let wait = 100; ; wait = Math.min(2 * wait, 5000)) {
      const { token, reason } = await this.#look();
      if (token !== undefined) return token;
      const left = deadline - performance.now();
      if (left <= 0) throw new NoToken(`no usable token in ${this.#folder} for ${PATIENCE / 1000} s: ${reason}`);
      await pause(Math.min(wait, left), undefined, { signal });
      await this.#report();
    }
  }

  // Gives the token, or the reason to wait. The folder may be updated between the two files, so the token goes first:
  // whatever is mixed up then ends in one more look or in a 401.
  async #look() {
    const token = await this.#read("access_token");
    const state = await this.#read("state");
    const refused = this.#refused;
    if (state === undefined) return { reason: "there is no file state" };
    if (state === "ReauthRequired") {
      throw new ReauthRequired(`a user must authorize again (state ReauthRequired in ${this.#folder})`);
    }
    if (state === "Pending" || state === "Expired" || token === undefined) return { reason: `state ${state}` };
    if (token === refused.token && performance.now() - refused.since <= PATIENCE) {
      return { reason: "the API refused the current one" };
    }
    if (await this.#isDue()) return { reason: "it is refreshed in a moment" };
    // The library would quote it in its error.
    if (!/^[ -~]+$/.test(token)) throw new TypeError("the token holds characters that no header can carry");
    return { token };
  }

  // Whether the operator plans to rotate about now. Without a plan, or one that is not understood: no.
  async #isDue() {
    const late = Date.now() - Date.parse(await this.#read("refresh_at"));
    return late >= -EARLY && late < WINDOW;
  }

  // Reports the token that was refused. What is sent proves that this program has it; the token stays here.
  async #report() {
    const { token, since } = this.#refused;
    const current = await this.#read("access_token");
    const now = performance.now();
    const isOld = token !== undefined && token === current && now - since >= REPORT_AFTER;
    if (!this.#reportUrl || !isOld || now < this.#reportNotBefore) return;
    this.#reportNotBefore = now + RETRY_AFTER;
    const proof = createHmac("sha256", Buffer.from(token, "latin1")).update("pleo-operator rejection v1").digest("hex");
    try {
      const response = await fetch(this.#reportUrl, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ proof }),
        redirect: "error",
        signal: AbortSignal.timeout(5000),
      });
      await response.body?.cancel();
      if (response.status === 202) this.#reportNotBefore = now + REPORT_AGAIN;
    } catch {
      // It is tried again, and the operator notices at the next planned rotation anyway.
    }
  }

  // Exactly as it is stored: tokens are opaque.
  async #read(key) {
    try {
      return await readFile(join(this.#folder, key), "latin1");
    } catch (error) {
      if (error.code === "ENOENT") return undefined;
      throw error;
    }
  }
}
