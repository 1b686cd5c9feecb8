// Converts the API's offsets to indices of JavaScript strings, which count UTF-16 code units.

const utf8Length = (codePoint) =>
  codePoint < 0x80 ? 1 : codePoint < 0x800 ? 2 : codePoint < 0x10000 ? 3 : 4;

/** A function from an offset into `text`, counted in `unit` ("codepoint", "byte" or "utf16"), to a string index. */
export function utf16Index(text, unit) {
  if (unit === "utf16") return (offset) => offset;
  const indices = [];
  let offset = 0;
  let index = 0;
  for (const character of text) {
    indices[offset] = index;
    offset += unit === "byte" ? utf8Length(character.codePointAt(0)) : 1;
    index += character.length;
  }
  indices[offset] = index;
  return (offset) => indices[offset];
}
