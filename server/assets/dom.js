// Elements without markup strings: whatever a text contains, it is shown as text.

/** An element; `on…` attributes are listeners, `--…` ones style properties, and false or undefined ones are left out. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === undefined) continue;
    if (key.startsWith("--")) made.style.setProperty(key, value);
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== undefined));
  return made;
}

export const byId = (id) => document.getElementById(id);

/** Puts a text on the clipboard, and says so on the button for a moment. */
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
    // Browsers keep the clipboard from pages that come by plain HTTP from another machine; a selection still copies.
    const held = element("textarea", { readonly: true, class: "visually-hidden" });
    const focused = document.activeElement;
    held.value = text;
    document.body.append(held);
    held.select();
    const copied = document.execCommand("copy");
    held.remove();
    focused?.focus();
    return copied;
  }
}

/** Arrow keys, Home and End move along `items`, of which one at a time is a tab stop. */
export function roving(place, items, moved = () => {}) {
  const stop = (index) => items.forEach((item, i) => (item.tabIndex = i === index ? 0 : -1));
  stop(Math.max(0, items.findIndex((item) => item.tabIndex === 0)));
  place.onkeydown = (event) => {
    const at = items.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (at < 0 || items[to] === undefined) return;
    event.preventDefault();
    stop(to);
    items[to].focus();
    moved(items[to]);
  };
  place.onfocusin = (event) => {
    const at = items.indexOf(event.target);
    if (at >= 0) stop(at);
  };
}
