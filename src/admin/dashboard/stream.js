// The stream, read by fetch so that the token goes in a field and never in a URL; asked for again, ever more slowly, when it ends.

const KEY = "larder-token";
const SLOWEST = 30_000;
// The listener says something every 15 s; who is silent for longer is gone.
const SILENCE = 40_000;

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

export class Refused extends Error {}

export async function ask(path, options = {}) {
  const shown = token.get();
  const headers = { ...options.headers, ...(shown ? { Authorization: `Bearer ${shown}` } : {}) };
  const answer = await fetch(path, { ...options, headers, cache: "no-store", redirect: "error", credentials: "omit" });
  if (answer.status === 401 || answer.status === 403) throw new Refused(`${answer.status}`);
  return answer;
}

// Calls `on.event(name, data)` for each event, `on.live()` when it begins, `on.lost(why)` when it has ended, and `on.refused()` if the
// token opens nothing. Gives a function that ends it.
export function follow(path, on) {
  let stopped = false, tries = 0, abort = new AbortController(), timer = 0, wake = null;
  const again = async () => {
    const pause = Math.min(SLOWEST, 500 * 2 ** tries) * (0.75 + Math.random() / 2);
    tries = Math.min(tries + 1, 8);
    await new Promise((done) => { wake = done; timer = setTimeout(done, pause); });
  };
  const hasten = () => { if (wake && document.visibilityState === "visible") { tries = 0; clearTimeout(timer); wake(); } };
  window.addEventListener("online", hasten);
  document.addEventListener("visibilitychange", hasten);
  (async () => {
    while (!stopped) {
      let why = "it ended";
      try {
        abort = new AbortController();
        const answer = await ask(path, { signal: abort.signal });
        if (!answer.ok) throw new Error(`it was answered ${answer.status}`);
        tries = 0;
        on.live();
        await read(answer.body, on.event, () => abort.abort());
      } catch (error) {
        if (stopped) return;
        if (error instanceof Refused) { on.refused(); return; }
        why = error.name === "AbortError" ? "it fell silent" : error instanceof TypeError ? "nobody answers" : error.message;
      }
      if (stopped) return;
      on.lost(why);
      await again();
    }
  })();
  return () => {
    stopped = true;
    abort.abort();
    clearTimeout(timer);
    window.removeEventListener("online", hasten);
    document.removeEventListener("visibilitychange", hasten);
  };
}

async function read(body, event, silent) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "", alarm = setTimeout(silent, SILENCE);
  try {
    for (;;) {
      const { value, done } = await reader.read();
      clearTimeout(alarm);
      if (done) return;
      alarm = setTimeout(silent, SILENCE);
      const parts = (text + value).split("\n\n");
      text = parts.pop();
      for (const part of parts) tell(part, event);
    }
  } finally {
    clearTimeout(alarm);
  }
}

function tell(part, event) {
  let name = "message", data = "";
  for (const line of part.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
  }
  if (data) event(name, JSON.parse(data));
}
