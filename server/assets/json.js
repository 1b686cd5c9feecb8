// JSON with line breaks, indentation and colors.

import { element } from "./dom.js";

const WIDTH = 88;
/** The number of characters that are shown; copying takes all. */
export const SHOWN = 200_000;

/** The value as JSON, with short objects and lists on one line. */
export function pretty(value, indent = "", used = 0) {
  const line = oneLine(value);
  if (typeof value !== "object" || value === null || used + indent.length + line.length <= WIDTH) return line;
  const inner = `${indent}  `;
  const parts = Array.isArray(value)
    ? value.map((item) => pretty(item, inner))
    : Object.entries(value).map(([key, item]) => {
        const name = `${JSON.stringify(key)}: `;
        return name + pretty(item, inner, name.length);
      });
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return `${open}\n${parts.map((part) => inner + part).join(",\n")}\n${indent}${close}`;
}

function oneLine(value) {
  if (Array.isArray(value)) return `[${value.map(oneLine).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const parts = Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${oneLine(item)}`);
  return `{${parts.join(", ")}}`;
}

const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|-?\d[\d.eE+-]*|\b(?:true|false|null)\b/g;

/** Fills a `pre` with JSON text whose keys, strings and numbers have colors. */
export function showJson(place, json) {
  const text = json.slice(0, SHOWN);
  const parts = [];
  let end = 0;
  for (const token of text.matchAll(TOKEN)) {
    const [whole, string, colon] = token;
    const shown = string ?? whole;
    parts.push(text.slice(end, token.index));
    parts.push(element("span", { class: string === undefined ? "number" : colon ? "key" : "string" }, shown));
    end = token.index + shown.length;
  }
  parts.push(text.slice(end));
  place.replaceChildren(...parts);
}
