// Requests to the API, their timing, and how a person repeats them.

/**
 * What the server answered: `status`, `headers`, `text`, the `value` the text spells if it is JSON, and the
 * milliseconds of the whole round trip and of the server's part, where it tells.
 *
 * `arrived` sees each part of the text as it comes.
 */
export async function send(url, { arrived = () => {}, ...request }) {
  const began = performance.now();
  const response = await fetch(url, request);
  let text = "";
  if (response.body) {
    const parts = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let part = await parts.read(); !part.done; part = await parts.read()) {
      text += part.value;
      arrived(text);
    }
  }
  return {
    status: response.status,
    ok: response.ok,
    headers: response.headers,
    text,
    value: parsed(text),
    roundTrip: performance.now() - began,
    inServer: serverTime(response.headers),
  };
}

/** The address of a path of this server, wherever a proxy has put it. */
export const address = (path) => new URL(`./${path.replace(/^\//, "")}`, document.baseURI).href;

/** A command that sends the same request from a POSIX shell. */
export function curl(method, url, headers, body) {
  const usual = body === undefined ? "GET" : "POST";
  const lines = [`curl -s ${method === usual ? "" : `-X ${method} `}${quoted(url)}`];
  for (const [name, value] of Object.entries(headers)) lines.push(`-H ${quoted(`${name}: ${value}`)}`);
  if (body !== undefined) lines.push(`--data-raw ${quoted(body)}`);
  return lines.join(" \\\n  ");
}

/** A time as a person reads it. */
export function milliseconds(time) {
  if (time >= 1000) return `${(time / 1000).toFixed(2)} s`;
  return `${time >= 10 ? Math.round(time) : time.toFixed(1)} ms`;
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function serverTime(headers) {
  const told = headers.get("server-timing")?.match(/\btotal;dur=([\d.]+)/);
  return told ? Number(told[1]) : undefined;
}
