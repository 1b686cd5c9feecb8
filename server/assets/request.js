// Requests to the API, their timing, and the same request as a curl command.

/**
 * The server's response: `status`, `headers`, the `value` of a JSON body, and the milliseconds of the whole round trip
 * and of the server's part, where it reports that.
 */
export async function send(url, request) {
  const start = performance.now();
  const response = await fetch(url, request);
  const text = await response.text();
  return {
    status: response.status,
    ok: response.ok,
    headers: response.headers,
    value: parsed(text),
    roundTrip: performance.now() - start,
    inServer: serverTime(response.headers),
  };
}

/** The address of a route of this server, below any path prefix of a proxy. */
export const address = (route) => new URL(route, document.baseURI).href;

/** A command that sends the same POST request from a POSIX shell. */
export function curl(url, headers, body) {
  const lines = [`curl -s ${quoted(url)}`];
  for (const [name, value] of Object.entries(headers)) lines.push(`-H ${quoted(`${name}: ${value}`)}`);
  lines.push(`--data-raw ${quoted(body)}`);
  return lines.join(" \\\n  ");
}

/** A time with its unit, in milliseconds or seconds. */
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
  const total = headers.get("server-timing")?.match(/\btotal;dur=([\d.]+)/);
  return total ? Number(total[1]) : undefined;
}
