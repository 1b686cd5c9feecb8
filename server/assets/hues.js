// A hue for each entity type. Lightness and chroma are set in the style sheet, so every hue has the same contrast.

const FIRST = 85;
// Two or three types get neighboring hues of this many instead of opposite ones.
const FEWEST_STEPS = 6;

/** A function from an entity type, or a label such as `B-person`, to its hue in degrees. */
export function hues(types) {
  const places = new Map(types.map((type, place) => [type, place]));
  const steps = Math.max(types.length, FEWEST_STEPS);
  return (label) => {
    const type = places.has(label) ? label : label.replace(/^[BIELSU]-/, "");
    if (!places.has(type)) places.set(type, places.size);
    return Math.round(FIRST + (360 * places.get(type)) / steps) % 360;
  };
}
