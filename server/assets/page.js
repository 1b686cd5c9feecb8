// The page that highlights the entities of a text.

import { byId, copy, element, roving } from "./dom.js";
import { hues } from "./hues.js";
import { pretty, showJson, SHOWN } from "./json.js";
import { showReading } from "./reading.js";
import { address, curl, milliseconds, send } from "./request.js";

const JSON_BODY = { "content-type": "application/json" };
/** Table rows that are added at a time. */
const ROWS = 400;
/** Long enough that a slider being dragged does not send a request at every step. */
const SETTLE_MS = 150;
/** The aggregations whose responses list tokens instead of words. */
const TOKEN_AGGREGATIONS = ["none", "simple"];

const text = byId("text");
const threshold = byId("threshold");
const aggregation = byId("aggregation");
const offsets = byId("offsets");
const words = byId("words");

/** The entity types of the model. */
let types = [];
let hueOf = hues(types);
/** The entity types to show; empty for all. */
const chosenTypes = new Set();
/** Cancels the request in flight. */
let controller;
/** The timer of `submitSoon`. */
let timer;
/** The response as JSON. */
let json = "";

const defaultOf = (select) => [...select.options].find((option) => option.defaultSelected).value;

/** The request body of the form, without fields that have their default value. */
function requestBody() {
  const body = { text: text.value.toWellFormed?.() ?? text.value };
  if (aggregation.value !== defaultOf(aggregation)) body.aggregation = aggregation.value;
  if (offsets.value !== defaultOf(offsets)) body.offsets = offsets.value;
  if (Number(threshold.value) > 0) body.threshold = Number(threshold.value);
  if (chosenTypes.size > 0) body.labels = [...chosenTypes];
  if (!words.checked) body.include_words = false;
  return body;
}

/** Sends the form and shows the response. Cancels the request in flight. */
async function submit() {
  clearTimeout(timer);
  controller?.abort();
  const current = (controller = new AbortController());
  const sent = requestBody();
  const body = JSON.stringify(sent);
  document.body.classList.add("busy");
  byId("reading").setAttribute("aria-busy", "true");
  byId("curl").textContent = curl(address("ner"), JSON_BODY, body);
  try {
    const request = { method: "POST", headers: JSON_BODY, body, signal: current.signal };
    const response = await send(address("ner"), request);
    if (current.signal.aborted) return;
    if (response.ok) showResponse(sent, response);
    else showProblem(problemOf(response));
  } catch (error) {
    if (current.signal.aborted) return;
    showProblem({ title: "No answer", message: error.message });
  } finally {
    if (controller === current) {
      controller = undefined;
      document.body.classList.remove("busy");
      byId("reading").setAttribute("aria-busy", "false");
    }
  }
}

function submitSoon() {
  clearTimeout(timer);
  timer = setTimeout(submit, SETTLE_MS);
}

function showResponse(sent, { value, roundTrip, inServer }) {
  const { text, offsets: unit = defaultOf(offsets) } = sent;
  const { entities } = value;
  showReading(byId("reading"), { text, entities, unit, hueOf, onChoose: showWordsOf });
  showResult(true);
  const listed = TOKEN_AGGREGATIONS.includes(sent.aggregation) ? "token" : "word";
  byId("unit").textContent = listed === "word" ? "Word" : "Token";
  byId("status").replaceChildren(...summary(value, listed, roundTrip, inServer));
  showLegend(entities);
  showWords(value.words);
  json = pretty(value);
  showJson(byId("json"), json);
  byId("json-cut").hidden = json.length <= SHOWN;
}

function summary({ entities, words }, listed, roundTrip, inServer) {
  const within = words ? ` in ${count(words.length, listed, `${listed}s`)}` : "";
  const found = count(entities.length, "entity", "entities") + within;
  const server = inServer === undefined ? "" : `, ${milliseconds(inServer)} in the server`;
  return [element("strong", {}, found), ` ${milliseconds(roundTrip)} round trip${server}`];
}

const count = (number, one, many) => `${number === 0 ? "No" : number.toLocaleString("en")} ${number === 1 ? one : many}`;

const TITLES = {
  413: "The text is too large",
  422: "The server does not take this request",
  429: "The server is busy",
  503: "The server is not ready",
  504: "The server took too long",
};

/** The title, message and details of an error response. */
function problemOf({ status, value, headers }) {
  const details = [`status ${status}`];
  if (value?.error?.code) details.push(value.error.code);
  const id = headers.get("x-request-id");
  if (id) details.push(`request ${id}`);
  return {
    title: TITLES[status] ?? `The server answered ${status}`,
    message: value?.error?.message ?? "The response has no message.",
    details: details.join(" · "),
    retryAfter: headers.get("retry-after"),
  };
}

function showProblem({ title, message, details, retryAfter }) {
  const retry = retryAfter ? `Try again (the server asks for ${retryAfter} s)` : "Try again";
  byId("problem").replaceChildren(
    element("strong", {}, title),
    element("p", {}, message),
    details ? element("p", { class: "quiet" }, details) : "",
    element("button", { type: "button", class: "plain", onclick: submit }, retry),
  );
  byId("status").textContent = "";
  showResult(false);
  showLegend([]);
}

/** Shows either the result or the problem: the result of an earlier text would mislead. */
function showResult(succeeded) {
  byId("problem").hidden = succeeded;
  for (const part of ["reading", "answer", "share"]) byId(part).hidden = !succeeded;
}

function showLegend(entities) {
  const found = new Map();
  for (const { type } of entities) found.set(type, (found.get(type) ?? 0) + 1);
  const names = new Set([...types, ...chosenTypes, ...found.keys()]);
  const legend = byId("legend");
  const focused = document.activeElement?.dataset.type;
  legend.classList.toggle("chosen", chosenTypes.size > 0);
  legend.replaceChildren(
    ...[...names].map((type) =>
      element(
        "button",
        {
          type: "button",
          class: "chip",
          "--hue": hueOf(type),
          "data-type": type,
          "aria-pressed": String(chosenTypes.has(type)),
          onclick: () => choose(type),
        },
        type,
        element("span", { class: "count" }, String(found.get(type) ?? "")),
      ),
    ),
  );
  [...legend.children].find((chip) => chip.dataset.type === focused)?.focus();
}

function choose(type) {
  if (!chosenTypes.delete(type)) chosenTypes.add(type);
  showLegend([]);
  submit();
}

let unshown = [];

function showWords(list) {
  unshown = (list ?? []).map((word, place) => ({ ...word, place }));
  byId("rows").replaceChildren();
  byId("word-list").hidden = list === undefined;
  byId("no-words").hidden = list !== undefined;
  byId("word-list").scrollTop = 0;
  showMoreWords();
}

function showMoreWords(rows = ROWS) {
  byId("rows").append(...unshown.splice(0, rows).map(row));
  byId("more").hidden = unshown.length === 0;
  byId("more").textContent = `${unshown.length.toLocaleString("en")} more`;
}

function row({ text, label, score, place }) {
  const outside = label === "O";
  return element(
    "tr",
    {},
    element("td", { class: "index" }, String(place)),
    element("td", { class: "word" }, text),
    element("td", {}, element("span", outside ? { class: "outside" } : { class: "label", "--hue": hueOf(label) }, label)),
    element("td", { class: "score" }, element("span", { class: "meter", "--score": score }), score.toFixed(3)),
  );
}

/** Highlights an entity's words in the table. */
function showWordsOf({ words: [first, end] }, mark) {
  const rows = byId("rows");
  byId("reading").querySelector("[aria-current]")?.removeAttribute("aria-current");
  mark.setAttribute("aria-current", "true");
  if (rows.children.length < end) showMoreWords(end - rows.children.length);
  [...rows.children].forEach((row, place) => row.classList.toggle("chosen", first <= place && place < end));
  rows.children[first]?.scrollIntoView({ block: "nearest" });
}

function showTab(tab) {
  for (const other of byId("tabs").children) {
    other.setAttribute("aria-selected", String(other === tab));
    byId(other.getAttribute("aria-controls")).hidden = other !== tab;
  }
}

function showSize() {
  byId("size").textContent = count([...text.value].length, "character", "characters");
}

function showThreshold() {
  byId("threshold-shown").textContent = `${Math.round(100 * threshold.value)} %`;
  threshold.setAttribute("aria-valuetext", byId("threshold-shown").textContent);
}

/** The form as a fragment of this page's address. Browsers do not send fragments to servers. */
function fragment() {
  const { text, labels = [], ...options } = requestBody();
  const parameters = new URLSearchParams({ text, ...options });
  for (const label of labels) parameters.append("label", label);
  return `#${parameters}`;
}

/** Fills the form from the address. Returns false if the address has no text. */
function readFragment() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (!given.has("text")) return false;
  text.value = given.get("text");
  threshold.value = given.get("threshold") ?? 0;
  words.checked = given.get("include_words") !== "false";
  for (const select of [aggregation, offsets]) {
    select.value = given.get(select.id);
    if (select.value === "") select.value = defaultOf(select);
  }
  chosenTypes.clear();
  for (const label of given.getAll("label")) chosenTypes.add(label);
  showThreshold();
  showSize();
  return true;
}

/** Shows the model's name and reads its entity types. The page works without them. */
async function readInfo() {
  const { ok, value } = await send(address("info")).catch(() => ({ ok: false }));
  if (!ok) return;
  types = value.entity_types;
  hueOf = hues(types);
  const { name, precision } = value.model;
  byId("model").textContent = [name, precision, value.device].filter(Boolean).join(" · ");
}

function listen() {
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  text.addEventListener("input", showSize);
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      submit();
    }
  });
  for (const example of byId("examples").querySelectorAll("button")) {
    example.addEventListener("click", () => {
      text.value = example.dataset.text;
      showSize();
      submit();
    });
  }
  threshold.addEventListener("input", () => {
    showThreshold();
    submitSoon();
  });
  for (const control of [aggregation, offsets, words]) control.addEventListener("change", submit);
  const tabs = [...byId("tabs").children];
  roving(byId("tabs"), tabs, showTab);
  for (const tab of tabs) tab.addEventListener("click", () => showTab(tab));
  byId("more").addEventListener("click", () => showMoreWords());
  byId("copy-json").addEventListener("click", (event) => copy(event.currentTarget, json));
  byId("copy-curl").addEventListener("click", (event) => copy(event.currentTarget, byId("curl").textContent));
  byId("share").addEventListener("click", (event) => {
    history.replaceState(null, "", fragment());
    copy(event.currentTarget, location.href);
  });
  addEventListener("hashchange", () => readFragment() && submit());
  // A wide window has room for the options beside the text; on a phone they would push the result out of view.
  byId("options").open = matchMedia("(min-width: 56rem)").matches;
  if (/Mac|iPhone|iPad/.test(navigator.platform)) byId("keys").textContent = "⌘ ↵";
}

listen();
readFragment();
showThreshold();
showSize();
await readInfo();
showLegend([]);
submit();
