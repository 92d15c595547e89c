// Calls functions of worker.js: an answer, an error, or the share that is done, comes back by the number of the call.

const worker = new Worker("worker.js", { type: "module" });
const calls = new Map();

worker.onmessage = ({ data: { id, share, result, error } }) => {
  const { resolve, reject, progress } = calls.get(id);
  if (share !== undefined) return progress(share);
  calls.delete(id);
  return error === undefined ? resolve(result) : reject(new Error(error));
};
worker.onerror = () => {
  for (const { reject } of calls.values()) reject(new Error("The worker of this page has failed; load the page again"));
  calls.clear();
};

export function call(name, values, progress = () => {}) {
  return new Promise((resolve, reject) => {
    const id = crypto.randomUUID();
    calls.set(id, { resolve, reject, progress });
    worker.postMessage({ id, name, values });
  });
}
