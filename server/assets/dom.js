// Elements made without markup strings, so that markup in a text is shown as text.

/** A new element. Attributes `on…` become listeners, `--…` style properties; false and undefined ones are left out. */
export function element(name, attributes = {}, ...children) {
  const created = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === undefined) continue;
    if (key.startsWith("--")) created.style.setProperty(key, value);
    else if (key.startsWith("on")) created.addEventListener(key.slice(2), value);
    else created.setAttribute(key, value === true ? "" : value);
  }
  created.append(...children.filter((child) => child !== undefined));
  return created;
}

export const byId = (id) => document.getElementById(id);

/** Copies a text to the clipboard and reports it on the button for 1.5 s. */
export async function copy(button, text) {
  const label = button.dataset.label ?? button.textContent;
  button.dataset.label = label;
  button.textContent = (await toClipboard(text)) ? "Copied" : "Not copied";
  setTimeout(() => (button.textContent = label), 1500);
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Browsers deny the clipboard to pages served by plain HTTP from another host; copying a selection still works.
    const area = element("textarea", { readonly: true, class: "visually-hidden" });
    const focused = document.activeElement;
    area.value = text;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    focused?.focus();
    return copied;
  }
}

/** Roving tabindex: one of `items` is a tab stop; arrow keys, Home and End move the focus and call `onMove`. */
export function roving(place, items, onMove = () => {}) {
  const stop = (index) => items.forEach((item, i) => (item.tabIndex = i === index ? 0 : -1));
  stop(Math.max(0, items.findIndex((item) => item.tabIndex === 0)));
  place.onkeydown = (event) => {
    const at = items.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (at < 0 || items[to] === undefined) return;
    event.preventDefault();
    stop(to);
    items[to].focus();
    onMove(items[to]);
  };
  place.onfocusin = (event) => {
    const at = items.indexOf(event.target);
    if (at >= 0) stop(at);
  };
}
