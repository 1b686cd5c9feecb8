// The contract of this server, from its own OpenAPI document, with a console for each operation.

import { byId, copy, element } from "./dom.js";
import { pretty, showJson, SHOWN } from "./json.js";
import { address, curl, milliseconds, send } from "./request.js";
import { Schemas } from "./schema.js";

const METHODS = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
const HUES = { get: 250, post: 150, put: 85, patch: 85, delete: 27 };

let schemas;

/** The operations of the document in groups, by their first tag, in the order of the document's tags. */
function grouped({ paths, tags = [] }) {
  const groups = new Map(tags.map(({ name, description }) => [name, { name, description, operations: [] }]));
  for (const [path, item] of Object.entries(paths)) {
    for (const method of METHODS.filter((method) => item[method])) {
      const name = item[method].tags?.[0] ?? "other";
      if (!groups.has(name)) groups.set(name, { name, operations: [] });
      const parameters = [...(item.parameters ?? []), ...(item[method].parameters ?? [])];
      groups.get(name).operations.push({ ...item[method], parameters, path, method });
    }
  }
  return [...groups.values()].filter(({ operations }) => operations.length > 0);
}

const idOf = ({ method, path }) => `${method}${path.replaceAll(/[^a-z0-9]+/gi, "-")}`;
const badge = ({ method }) => element("span", { class: "method", "--hue": HUES[method] ?? 300 }, method.toUpperCase());

/** Text in which `code` stands in backquotes. */
function prose(text = "") {
  const parts = text.split(/`([^`]+)`/);
  return parts.map((part, place) => (place % 2 ? element("code", {}, part) : part));
}

function showContents(groups) {
  const link = (operation) =>
    element("li", {}, element("a", { href: `#${idOf(operation)}` }, badge(operation), element("span", { class: "path" }, operation.path)));
  byId("contents").replaceChildren(
    ...groups.flatMap(({ name, operations }) => [
      element("h2", {}, name),
      element("ul", {}, ...operations.map(link)),
    ]),
  );
}

function section(group) {
  return element(
    "section",
    { "aria-labelledby": `tag-${group.name}` },
    element("h2", { id: `tag-${group.name}` }, group.name),
    element("p", { class: "quiet" }, group.description ?? ""),
    ...group.operations.map(article),
  );
}

function article(operation) {
  const id = idOf(operation);
  const { content: bodies } = schemas.resolve(operation.requestBody);
  const parameters = operation.parameters.map((parameter) => schemas.resolve(parameter));
  return element(
    "article",
    { id, "aria-labelledby": `${id}-title` },
    element("h3", { id: `${id}-title` }, badge(operation), " ", element("span", { class: "path" }, operation.path)),
    element("p", { class: "prose" }, ...prose(operation.summary)),
    ...(operation.description ? [element("p", { class: "prose" }, ...prose(operation.description))] : []),
    ...(parameters.length ? [element("h4", {}, "Parameters"), parameterTable(parameters)] : []),
    ...(bodies ? [element("h4", {}, "Request"), ...Object.entries(bodies).map(([type, media]) => body(type, media))] : []),
    consoleOf(operation, id, parameters, bodies),
    element("h4", {}, "Responses"),
    ...Object.entries(operation.responses).map(([status, response]) => responseOf(status, schemas.resolve(response))),
  );
}

function parameterTable(parameters) {
  const fields = parameters.map(({ name, schema, required, description, in: place }) => ({
    name: `${name} (${place})`,
    schema: { ...schemas.resolve(schema), ...(description && { description }) },
    required,
  }));
  return fieldList(fields);
}

function body(type, { schema }) {
  return element("div", { class: "media" }, element("p", { class: "quiet" }, type), ...fieldsOf(schema));
}

function responseOf(status, { description, content = {} }) {
  const [media] = Object.values(content);
  const heading = [
    element("span", { class: `status s${status[0]}` }, status),
    element("span", {}, ...prose(description)),
    element("span", { class: "quiet" }, Object.keys(content).join(", ")),
  ];
  const fields = media ? fieldsOf(media.schema) : [];
  if (fields.length === 0) return element("p", { class: "response" }, ...heading);
  return element("details", { class: "response" }, element("summary", {}, ...heading), ...fields);
}

function fieldsOf(schema) {
  return schemas.groups(schema).flatMap(({ title, fields }) => [
    ...(title ? [element("p", { class: "choice" }, ...prose(title))] : []),
    fieldList(fields),
  ]);
}

function fieldList(fields) {
  return element("dl", { class: "fields" }, ...fields.flatMap(fieldOf));
}

function fieldOf({ name, schema, required }) {
  const limits = schemas.limits(schema);
  const choice = schemas.choices(schema)[0];
  const description = schemas.resolve(schema).description ?? schemas.resolve(choice).description;
  const inner = schemas.groups(schema).length > 0;
  return [
    element(
      "dt",
      {},
      element("code", {}, name),
      element("span", { class: "quiet" }, schemas.type(schema)),
      required ? element("span", { class: "required" }, "required") : undefined,
    ),
    element(
      "dd",
      {},
      ...prose(description),
      limits ? element("span", { class: "quiet limits" }, limits) : undefined,
      inner ? fieldsWithin(schema) : undefined,
    ),
  ];
}

/** The fields of a field, made when they are first looked at, since a schema may hold itself. */
function fieldsWithin(schema) {
  const details = element("details", {}, element("summary", { class: "quiet" }, "fields"));
  details.addEventListener("toggle", () => details.append(...fieldsOf(schema)), { once: true });
  return details;
}

/** The form that sends a request of this operation, and what comes back. */
function consoleOf(operation, id, parameters, bodies) {
  const { method, path } = operation;
  const inputs = parameters.map((parameter) => input(id, parameter));
  const editor = bodies && bodyEditor(id, bodies);
  const outcome = element("div", { class: "outcome", "aria-live": "polite" });
  const send = element("button", { type: "submit", class: "primary" }, "Send");
  const form = element(
    "form",
    { class: "console", "aria-label": `Try ${method.toUpperCase()} ${path}` },
    ...inputs.map(({ field }) => field),
    ...(editor ? [editor.field] : []),
    element("div", { class: "send" }, send),
    outcome,
  );
  let running;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    running?.abort();
    running = new AbortController();
    await tried(outcome, requestOf(method, path, inputs, editor), running.signal);
  });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.requestSubmit();
  });
  return form;
}

/** A text field for a parameter. */
function input(id, parameter) {
  const { name, required } = parameter;
  const schema = schemas.whole(parameter.schema);
  const value = parameter.example ?? schema.example ?? schema.examples?.[0] ?? (required ? (schema.enum?.[0] ?? "") : "");
  const control = element("input", { id: `${id}-${name}`, type: "text", value, required });
  const field = element("p", { class: "parameter" }, element("label", { for: control.id }, name), control);
  return { ...parameter, control, field };
}

/** The request body's text and media type. */
function bodyEditor(id, bodies) {
  const types = Object.keys(bodies);
  const select = element("select", { id: `${id}-type` }, ...types.map((type) => element("option", {}, type)));
  const samples = element("select", { id: `${id}-sample` });
  const text = element("textarea", { id: `${id}-body`, rows: 5, spellcheck: "false", class: "body" });
  let texts = {};
  const fill = () => (text.value = texts[samples.value]);
  const change = () => {
    texts = examplesOf(select.value, bodies[select.value]);
    samples.replaceChildren(...Object.keys(texts).map((name) => element("option", {}, name)));
    samples.parentElement.hidden = Object.keys(texts).length < 2;
    fill();
  };
  const field = element(
    "div",
    { class: "parameter" },
    element("p", { hidden: types.length < 2 }, element("label", { for: `${id}-type` }, "Content type"), select),
    element("p", {}, element("label", { for: `${id}-sample` }, "Example"), samples),
    element("label", { for: `${id}-body` }, "Body"),
    text,
  );
  select.addEventListener("change", change);
  samples.addEventListener("change", fill);
  change();
  return { field, type: () => select.value, text: () => text.value };
}

/** The examples of a body by name, as text: those it is given, else one that its schema makes. */
function examplesOf(type, media) {
  const named = Object.entries(media.examples ?? {}).map(([name, given]) => {
    const { summary, value } = schemas.resolve(given);
    return [summary ?? name, value];
  });
  if (named.length === 0) named.push(["example", media.example ?? schemas.example(media.schema)]);
  return Object.fromEntries(named.map(([name, value]) => [name, bodyText(type, value)]));
}

function bodyText(type, value) {
  if (typeof value === "string" && !isJson(type)) return value;
  return isLines(type) ? `${[value].flat().map((line) => JSON.stringify(line)).join("\n")}\n` : pretty(value);
}

const isJson = (type) => /[/+]json\b/.test(type);
const isLines = (type) => /ndjson|jsonl|json-seq/.test(type);

/** The request that the form spells. */
function requestOf(method, path, inputs, editor) {
  const query = new URLSearchParams();
  const headers = {};
  let place = path;
  for (const { in: where, name, control } of inputs) {
    const { value } = control;
    if (where === "path") place = place.replace(`{${name}}`, encodeURIComponent(value));
    else if (value !== "" && where === "query") query.append(name, value);
    else if (value !== "" && where === "header") headers[name] = value;
  }
  if (editor) headers["content-type"] = editor.type();
  const search = query.size > 0 ? `?${query}` : "";
  return { method: method.toUpperCase(), url: address(place) + search, headers, body: editor?.text() };
}

/** Sends a request and shows what comes back as it comes. */
async function tried(outcome, { method, url, headers, body }, signal) {
  const line = element("p", { class: "quiet" }, "Sent…");
  const shown = element("pre", { class: "scroll wrap", tabindex: 0, role: "region", "aria-label": "Response body" });
  const command = curl(method, url, headers, body);
  const commandButton = element("button", { type: "button", class: "plain" }, "Copy as curl");
  commandButton.addEventListener("click", () => copy(commandButton, command));
  outcome.replaceChildren(line, shown, commandButton);
  const arrived = (text) => (shown.textContent = text.slice(0, SHOWN));
  try {
    const answer = await send(url, { method, headers, body, signal, arrived });
    line.replaceChildren(...answerLine(answer));
    if (answer.value !== undefined) showJson(shown, pretty(answer.value));
    shown.hidden = answer.text === "";
    shown.before(headerList(answer.headers));
  } catch (error) {
    if (signal.aborted) return;
    line.textContent = `No answer: ${error.message}`;
    shown.hidden = true;
  }
}

function answerLine({ status, text, roundTrip, inServer }) {
  const size = new TextEncoder().encode(text).length.toLocaleString("en");
  const server = inServer === undefined ? "" : `, ${milliseconds(inServer)} in the server`;
  const cut = text.length > SHOWN ? "; only the beginning is shown" : "";
  return [
    element("span", { class: `status s${String(status)[0]}` }, String(status)),
    ` ${size} bytes in ${milliseconds(roundTrip)}${server}${cut}`,
  ];
}

function headerList(headers) {
  const lines = [...headers].map(([name, value]) => `${name}: ${value}`).join("\n");
  return element(
    "details",
    { class: "headers" },
    element("summary", { class: "quiet" }, "headers"),
    element("pre", { class: "wrap" }, lines),
  );
}

async function start() {
  const { ok, status, value } = await send(address("openapi.json"), {});
  if (!ok) throw new Error(`The server answered ${status} when asked for the contract.`);
  schemas = new Schemas(value);
  const groups = grouped(value);
  byId("title").replaceChildren(value.info.title, " ", element("span", { class: "version" }, value.info.version));
  byId("description").replaceChildren(...prose(value.info.description));
  showContents(groups);
  byId("operations").replaceChildren(...groups.map(section));
  // The browser looked for the address's fragment before it was there.
  if (location.hash) byId(location.hash.slice(1))?.scrollIntoView();
}

start().catch((error) => {
  byId("problem").textContent = error.message;
  byId("problem").hidden = false;
});
