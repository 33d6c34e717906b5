// Calls an API every second with the token of a PleoConnection, and shows the result. It never prints a token.
//
// PLEO_API_URL is what to call, PLEO_TOKEN_DIR where the token Secret is mounted (/var/run/pleo), PLEO_REPORT_URL where a token
// that the API rejects is reported, and NODE_EXTRA_CA_CERTS a CA to trust beside those that Node brings.

import { setTimeout as pause } from "node:timers/promises";
import { Pleo, ReauthRequired } from "./pleo.mjs";

// The first process of a container must ask for SIGTERM, or it never sees it.
process.on("SIGTERM", () => process.exit(0));

const url = process.env.PLEO_API_URL;
if (!url) {
  console.error("set PLEO_API_URL to what is to be called");
  process.exit(1);
}
const pleo = new Pleo({
  folder: process.env.PLEO_TOKEN_DIR,
  onRefused: () => console.log("401: refused; waiting for another token"),
  reportUrl: process.env.PLEO_REPORT_URL,
});
for (;;) {
  try {
    // The wait for a token counts, too.
    const response = await pleo.fetch(url, { signal: AbortSignal.timeout(180_000) });
    console.log(response.status, await response.text());
  } catch (error) {
    if (error instanceof ReauthRequired) {
      // This program ends, so that you see it. A server would answer 503 and go on looking.
      console.error(`pleo: ${error.message}`);
      process.exit(1);
    }
    console.log(error.cause?.message ?? error.message);
  }
  await pause(1000);
}
