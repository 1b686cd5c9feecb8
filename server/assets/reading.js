// The text with its entities marked, and the details of an entity on hover, focus or tap.

import { byId, element, roving } from "./dom.js";
import { utf16Index } from "./offsets.js";

const UNITS = { codepoint: "code points", byte: "bytes", utf16: "UTF-16 units" };

const percent = (score) => `${(100 * score).toFixed(1)} %`;

/**
 * Fills `place` with `text` and marks each entity in it.
 *
 * The offsets count `unit`s. `hueOf` gives an entity type's hue. `onChoose` is called with an entity that is clicked.
 * Throws if the text at an entity's offsets is not the entity's text.
 */
export function showReading(place, { text, entities, unit, hueOf, onChoose }) {
  const indexOf = utf16Index(text, unit);
  const parts = [];
  const marks = [];
  let end = 0;
  for (const entity of entities) {
    const [from, to] = [indexOf(entity.start), indexOf(entity.end)];
    if (from < end || text.slice(from, to) !== entity.text) {
      throw new Error(`The response has “${entity.text}” at offsets where the text is different.`);
    }
    const mark = marked(entity, unit, hueOf(entity.type), onChoose);
    marks.push(mark);
    parts.push(text.slice(end, from), element("mark", {}, mark));
    end = to;
  }
  parts.push(text.slice(end));
  place.replaceChildren(...parts);
  // Without entities the text itself must take the focus, so that a long text scrolls by keyboard.
  place.tabIndex = marks.length === 0 ? 0 : -1;
  hideTip();
  roving(place, marks);
}

function marked(entity, unit, hue, onChoose) {
  const mark = element(
    "span",
    { class: "entity", role: "button", tabindex: -1, "--hue": hue },
    entity.text,
    element("span", { class: "type" }, entity.type),
    element("span", { class: "visually-hidden" }, `, confidence ${percent(entity.score)}`),
  );
  const show = () => showTip(mark, entity, unit, hue);
  const choose = () => {
    show();
    onChoose(entity, mark);
  };
  mark.addEventListener("pointerenter", show);
  mark.addEventListener("pointerleave", hideTipSoon);
  mark.addEventListener("focus", show);
  mark.addEventListener("blur", hideTip);
  mark.addEventListener("click", choose);
  mark.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    choose();
  });
  return mark;
}

const tip = byId("tip");
/** The timer of `hideTipSoon`. */
let timer;

function showTip(mark, entity, unit, hue) {
  clearTimeout(timer);
  tip.style.setProperty("--hue", hue);
  tip.style.setProperty("--score", entity.score);
  tip.replaceChildren(
    element("span", { class: "tip-type" }, entity.type),
    element("span", { class: "tip-score" }, percent(entity.score)),
    element("span", { class: "meter" }),
    element("span", { class: "tip-place" }, `${UNITS[unit]} ${entity.start} to ${entity.end}`),
  );
  tip.hidden = false;
  const line = mark.getClientRects()[0];
  const [width, height] = [tip.offsetWidth, tip.offsetHeight];
  const left = Math.min(Math.max(8, line.left), document.documentElement.clientWidth - width - 8);
  const above = line.top - height - 6;
  tip.style.setProperty("--left", `${left + scrollX}px`);
  tip.style.setProperty("--top", `${(above > 8 ? above : line.bottom + 6) + scrollY}px`);
}

function hideTip() {
  clearTimeout(timer);
  tip.hidden = true;
}

// Leaves time to move the pointer onto the tip.
function hideTipSoon() {
  clearTimeout(timer);
  timer = setTimeout(hideTip, 200);
}

tip.addEventListener("pointerenter", () => clearTimeout(timer));
tip.addEventListener("pointerleave", hideTipSoon);
addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
