// The text with its entities marked, and what is known of each on hover, focus or tap.

import { byId, element, roving } from "./dom.js";
import { utf16Index } from "./offsets.js";

const UNITS = { codepoint: "code points", byte: "bytes", utf16: "UTF-16 units" };

const percent = (score) => `${(100 * score).toFixed(1)} %`;

/**
 * Fills `place` with `text`, in which each entity's slice is marked.
 *
 * The answer's offsets count `unit`s; `hueOf` gives an entity type's hue; `chosen` hears of an entity that is clicked.
 * Throws where an entity's offsets do not slice the text to the entity.
 */
export function showReading(place, { text, entities, unit, hueOf, chosen }) {
  const indexOf = utf16Index(text, unit);
  const parts = [];
  const marks = [];
  let end = 0;
  for (const entity of entities) {
    const [from, to] = [indexOf(entity.start), indexOf(entity.end)];
    if (from < end || text.slice(from, to) !== entity.text) {
      throw new Error(`The answer places “${entity.text}” where the text does not have it.`);
    }
    const mark = marked(entity, unit, hueOf(entity.type), chosen);
    marks.push(mark);
    parts.push(text.slice(end, from), element("mark", {}, mark));
    end = to;
  }
  parts.push(text.slice(end));
  place.replaceChildren(...parts);
  // Without an entity to stop at, a long text is scrolled by its own place.
  place.tabIndex = marks.length === 0 ? 0 : -1;
  hideTip();
  roving(place, marks);
}

function marked(entity, unit, hue, chosen) {
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
    chosen(entity, mark);
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
let hiding;

function showTip(mark, entity, unit, hue) {
  clearTimeout(hiding);
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
  clearTimeout(hiding);
  tip.hidden = true;
}

// Time to move the pointer onto the tip itself.
function hideTipSoon() {
  clearTimeout(hiding);
  hiding = setTimeout(hideTip, 200);
}

tip.addEventListener("pointerenter", () => clearTimeout(hiding));
tip.addEventListener("pointerleave", hideTipSoon);
addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
