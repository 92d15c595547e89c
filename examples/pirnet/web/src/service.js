// The service that restores: it receives the stego image, the task and the API key, and nothing else.

const TIMEOUT = 300_000; // milliseconds
const BUSY = [429, 503];
const WAIT = 2; // seconds before the second try, where a page may not see what the service asks for
const LONGEST_WAIT = 60;

/** The restored stego image, as a PNG file. */
export async function restore({ address, allowed, apiKey, task, stego }) {
  const url = target(address, allowed, task);
  let answer = await post(url, apiKey, stego);
  if (BUSY.includes(answer.status)) {
    const seconds = Math.min(Number(answer.headers.get("Retry-After") ?? WAIT) || 0, LONGEST_WAIT);
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    answer = await post(url, apiKey, stego);
  }
  if (!answer.ok) throw new Error(`${url.origin}: answered ${answer.status}, ${await reason(answer)}`);
  return new Uint8Array(await answer.arrayBuffer());
}

function target(address, allowed, task) {
  const url = new URL(address);
  const origin = new URL(allowed).origin;
  if (url.origin !== origin) {
    throw new Error(`This page may send to ${origin} only; for another service, start page.py with --service ADDRESS`);
  }
  url.pathname = `${url.pathname.replace(/\/+$/, "")}/restore`;
  url.search = new URLSearchParams({ task });
  return url;
}

async function post(url, apiKey, stego) {
  const headers = { "Content-Type": "image/png", ...(apiKey && { Authorization: `Bearer ${apiKey}` }) };
  const options = { method: "POST", headers, body: stego, credentials: "omit", redirect: "error", cache: "no-store" };
  try {
    return await fetch(url, { ...options, signal: AbortSignal.timeout(TIMEOUT) });
  } catch (error) {
    if (error.name === "TimeoutError") throw new Error(`${url.origin}: no answer within ${TIMEOUT / 1000} seconds`);
    const hint = `is serve.py running, with --allow-origin ${location.origin}?`;
    throw new Error(`${url.origin}: cannot be reached; ${hint}`);
  }
}

async function reason(answer) {
  try {
    return (await answer.json()).error;
  } catch {
    return answer.statusText || "for no stated reason";
  }
}
