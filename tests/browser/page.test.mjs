// The page at `/`, as a person meets it.

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { accessible, fitsTheWidth, LIMIT_MS, onPage, PHONE, screenshot, startBrowser, startServer } from "./fixture.mjs";

const SENTENCE = "Empire State Building is where Barack Obama met Beyoncé";
const EMOJI = "👩‍👩‍👧 and Barack Obama met Beyoncé in Köln, then 😀 flew to Paris 🎤";

let base;
let browser;

before(async () => {
  [base, browser] = await Promise.all([startServer("--max-text-bytes", "2000"), startBrowser()]);
});

const visit = (title, run, { fragment = "", ...options } = {}) =>
  test(title, { timeout: LIMIT_MS }, () => onPage(browser, `${base}/${fragment}`, run, options));

/** Waits for the answer to the request that `act` makes, and yields that request's body. */
async function asked(page, act, status = 200) {
  const answered = page.waitForResponse((response) => response.url() === `${base}/ner`);
  await act();
  const response = await answered;
  await response.finished();
  await page.waitForFunction(() => !document.body.classList.contains("busy"));
  assert.equal(response.status(), status);
  assert.equal(await page.locator("#problem").isHidden(), status === 200);
  return response.request().postDataJSON();
}

const type = (page, text, status) =>
  asked(
    page,
    async () => {
      await page.locator("#text").fill(text);
      await page.keyboard.press("Control+Enter");
    },
    status,
  );

/** The marked parts of the text: what each marks and its type. */
const marks = (page) =>
  page.locator("#reading .entity").evaluateAll((entities) =>
    entities.map((entity) => [entity.firstChild.data, entity.querySelector(".type").textContent]),
  );

/** The text as it is shown, without the labels. */
const shownText = (page) =>
  page.locator("#reading").evaluate((reading) => {
    const copy = reading.cloneNode(true);
    for (const added of copy.querySelectorAll(".type, .visually-hidden")) added.remove();
    return copy.textContent;
  });

/** Waits until the example the page comes with is answered. */
const loaded = (page) => page.locator("#reading .entity").first().waitFor();

const RESULT = [
  ["Empire State Building", "location"],
  ["Barack Obama", "person"],
  ["Beyoncé", "person"],
];

visit("a typed sentence, sent by keyboard, has its entities marked", async (page) => {
  await loaded(page);
  await page.locator("#text").fill("");
  await page.locator("#text").pressSequentially(SENTENCE);
  assert.deepEqual(await asked(page, () => page.keyboard.press("Control+Enter")), { text: SENTENCE });
  assert.deepEqual(await marks(page), RESULT);
  assert.equal(await shownText(page), SENTENCE);
  assert.match(await page.locator("#status").textContent(), /^3 entities in 9 words [\d.]+ ms there and back, [\d.]+ ms in the server$/);
  assert.equal(await page.locator("#rows tr").count(), 9);
});

visit("entities are reached with the arrow keys and tell their confidence", async (page) => {
  await loaded(page);
  const entities = page.locator("#reading .entity");
  await page.locator("#share").focus();
  await page.keyboard.press("Tab");
  await page.keyboard.press("ArrowRight");
  assert(await entities.nth(1).evaluate((entity) => entity === document.activeElement));
  const score = /(\d+\.\d %)/.exec(await entities.nth(1).textContent())[1];
  assert.equal(await page.locator("#tip .tip-score").textContent(), score);
  await page.keyboard.press("Enter");
  assert.equal(await page.locator("#rows tr.chosen .word").first().textContent(), "Barack");
  assert.equal(await page.locator("#rows tr.chosen").count(), 2);
  await page.keyboard.press("Escape");
  assert(await page.locator("#tip").isHidden());
  await entities.nth(0).hover();
  assert(await page.locator("#tip").isVisible());
});

visit("the controls are in the request and in what is shown", async (page) => {
  await loaded(page);
  const moved = await asked(page, () => page.locator("#threshold").fill("0.99"));
  assert.equal(moved.threshold, 0.99);
  const kept = await marks(page);
  assert(kept.length < 3, "a threshold of 0.99 leaves something out");
  await asked(page, () => page.locator("#threshold").fill("0"));
  const unworded = await asked(page, () => page.locator("#words").click());
  assert.equal(unworded.include_words, false);
  assert(await page.locator("#no-words").isVisible());
  assert.match(await page.locator("#status").textContent(), /^3 entities /);
  await asked(page, () => page.locator("#words").click());
  const filtered = await asked(page, () => page.locator(".chip", { hasText: "location" }).click());
  assert.deepEqual(filtered.labels, ["location"]);
  assert.deepEqual(await marks(page), [RESULT[0]]);
  await asked(page, () => page.locator(".chip", { hasText: "location" }).click());
  for (const offsets of ["byte", "utf16"]) {
    const counted = await asked(page, () => page.locator("#offsets").selectOption(offsets));
    assert.equal(counted.offsets, offsets);
    assert.deepEqual(await marks(page), RESULT);
  }
});

visit("every aggregation is answered", async (page) => {
  await loaded(page);
  for (const aggregation of ["none", "simple", "average", "max"]) {
    const joined = await asked(page, () => page.locator("#aggregation").selectOption(aggregation));
    assert.equal(joined.aggregation, aggregation);
    assert((await marks(page)).some(([text]) => text.startsWith("Barack")));
    const listed = aggregation === "none" || aggregation === "simple" ? "Token" : "Word";
    assert.equal(await page.locator("#unit").textContent(), listed);
  }
  assert.deepEqual(await asked(page, () => page.locator("#aggregation").selectOption("first")), { text: SENTENCE });
});

visit("the JSON is the server's answer and the curl command asks for it", async (page) => {
  await loaded(page);
  await page.locator("#tab-words").focus();
  await page.keyboard.press("ArrowRight");
  const json = JSON.parse(await page.locator("#json").textContent());
  const answer = await (await fetch(`${base}/ner`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ text: SENTENCE }),
  })).json();
  assert.deepEqual(json, answer);
  await page.keyboard.press("End");
  const curl = await page.locator("#curl").textContent();
  assert(curl.includes(`'${base}/ner'`) && curl.includes(`--data-raw '{"text":"${SENTENCE}"}'`), curl);
});

visit("a button copies", async (page) => {
  await loaded(page);
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.locator("#tab-json").click();
  await page.locator("#copy-json").click();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(copied, await page.locator("#json").textContent());
});

visit("markup in a text is shown as text", async (page) => {
  await loaded(page);
  const text = `<img src=x onerror="document.title='broken'"> <script>document.title='broken'</script> Barack Obama & 'Beyoncé'`;
  await type(page, text);
  assert.equal(await shownText(page), text);
  assert.equal(await page.locator("#reading img, #reading script, #rows img").count(), 0);
  assert.notEqual(await page.title(), "broken");
  assert((await marks(page)).some(([marked]) => marked === "Barack Obama"));
});

visit("emoji shift nothing", async (page) => {
  await loaded(page);
  for (const offsets of ["codepoint", "byte", "utf16"]) {
    if (offsets !== "codepoint") await asked(page, () => page.locator("#offsets").selectOption(offsets));
    await type(page, EMOJI);
    assert.equal(await shownText(page), EMOJI);
    const marked = await marks(page);
    for (const name of ["Barack Obama", "Beyoncé"]) {
      assert(marked.some(([text]) => text === name), `${name} with ${offsets} in ${JSON.stringify(marked)}`);
    }
  }
});

visit("each unit of offsets is the string index JavaScript slices at", async (page) => {
  const wrong = await page.evaluate(async () => {
    const { utf16Index } = await import("./assets/offsets.js");
    const text = "aé€😀\u0301👩‍👩‍👧\r\n東z";
    const lengths = {
      codepoint: (part) => [...part].length,
      byte: (part) => new TextEncoder().encode(part).length,
      utf16: (part) => part.length,
    };
    const wrong = [];
    for (const [unit, length] of Object.entries(lengths)) {
      const indexOf = utf16Index(text, unit);
      let index = 0;
      for (const character of [...text, ""]) {
        if (indexOf(length(text.slice(0, index))) !== index) wrong.push([unit, index]);
        index += character.length;
      }
    }
    return wrong;
  });
  assert.deepEqual(wrong, []);
});

visit(
  "an error of the API is shown in its words, and the next text is answered",
  async (page) => {
    await loaded(page);
    await type(page, "Beyoncé ".repeat(400), 413);
    const problem = page.locator("#problem");
    assert.match(await problem.textContent(), /The text is too large.*2000.*status 413 · text_too_large · request \S+/s);
    assert(await page.locator("#reading").isHidden());
    await accessible(page);
    await screenshot(page, "error");
    await type(page, SENTENCE);
    assert(await problem.isHidden());
    assert.deepEqual(await marks(page), RESULT);
    await page.goto(`${base}/#text=Beyonc%C3%A9&label=planet`);
    await problem.getByText("planet").waitFor();
    assert.match(await problem.textContent(), /the model knows .*person/);
  },
  { expected: [413, 422] },
);

visit(
  "a busy server is told of, with the time it asks for",
  async (page) => {
    await page.getByText("The server is busy").waitFor();
    assert.match(await page.locator("#problem").textContent(), /too much waits.*asks for 3 s/s);
    await page.unroute("**/ner");
    await asked(page, () => page.getByText("Try again").click());
    assert.equal((await marks(page)).length, 3);
  },
  {
    expected: [429],
    prepare: (page) =>
      page.route("**/ner", (route) =>
        route.fulfill({
          status: 429,
          headers: { "retry-after": "3" },
          json: { error: { code: "overloaded", message: "too much waits" } },
        }),
      ),
  },
);

visit("a request gives way to the next", async (page) => {
  await loaded(page);
  let release;
  const held = new Promise((resolve) => (release = resolve));
  await page.route("**/ner", async (route) => {
    if (route.request().postDataJSON().text.startsWith("slow")) await held;
    await route.continue().catch(() => {});
  });
  const failed = page.waitForEvent("requestfailed");
  await page.locator("#text").fill("slow Barack Obama");
  await page.keyboard.press("Control+Enter");
  await page.waitForFunction(() => document.body.classList.contains("busy"));
  await type(page, SENTENCE);
  assert.match((await failed).failure().errorText, /ABORTED/);
  release();
  assert.deepEqual(await marks(page), RESULT);
});

visit("a link brings back the text and the options", async (page) => {
  await loaded(page);
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await asked(page, () => page.locator("#offsets").selectOption("utf16"));
  await asked(page, () => page.locator(".chip", { hasText: "person" }).click());
  await type(page, `${EMOJI} & more`);
  const before = await marks(page);
  await page.locator("#share").click();
  const link = await page.evaluate(() => navigator.clipboard.readText());
  await page.goto("about:blank");
  await page.goto(link);
  await loaded(page);
  assert.equal(await page.locator("#text").inputValue(), `${EMOJI} & more`);
  assert.equal(await page.locator("#offsets").inputValue(), "utf16");
  assert.deepEqual(await marks(page), before);
});

/** A model of many entity types, and a text that has each of them once. */
const TYPES = Array.from({ length: 60 }, (_, place) => `TYPE_${place}`);
const TYPES_TEXT = TYPES.map((type) => `${type} `).join("");

async function answerWithEveryType(page) {
  const info = { model: { name: "many" }, entity_types: TYPES, device: "cpu" };
  const entities = TYPES.map((type, place) => {
    const start = TYPES_TEXT.indexOf(`${type} `);
    return { type, text: type, start, end: start + type.length, score: 0.5, words: [place, place + 1] };
  });
  const words = entities.map(({ type, text, start, end, score }) => ({ text, start, end, label: `B-${type}`, score }));
  await page.route("**/info", (route) => route.fulfill({ json: info }));
  await page.route("**/ner", (route) => route.fulfill({ json: { entities, words, model: { name: "many", version: "1" } } }));
}

for (const colorScheme of ["light", "dark"]) {
  visit(
    `the page is accessible in ${colorScheme} colours`,
    async (page) => {
      await loaded(page);
      await type(page, SENTENCE);
      await screenshot(page, `page-${colorScheme}`);
      await accessible(page);
      for (const tab of ["#tab-json", "#tab-curl"]) {
        await page.locator(tab).click();
        await accessible(page);
      }
      await screenshot(page, `page-${colorScheme}-curl`);
      await page.locator("#tab-words").click();
      await asked(page, () => page.getByText("a news item").click());
      await page.locator("#reading .entity").first().hover();
      await accessible(page);
      await screenshot(page, `page-${colorScheme}-news`, { fullPage: true });
    },
    { colorScheme },
  );

  visit(
    `labels of any name are readable in ${colorScheme} colours`,
    async (page) => {
      await loaded(page);
      await page.waitForFunction(() => document.querySelectorAll("#reading .entity").length === 60);
      const contrasts = await page.locator("#reading .entity, #reading .type, #rows .label").evaluateAll((elements) => {
        const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
        const luminance = (color) => {
          canvas.fillStyle = color;
          canvas.fillRect(0, 0, 1, 1);
          const [red, green, blue] = [...canvas.getImageData(0, 0, 1, 1).data].map((value) => {
            const part = value / 255;
            return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
          });
          return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
        };
        return elements.map((element) => {
          const mark = element.closest(".entity, .label");
          const both = [getComputedStyle(element).color, getComputedStyle(mark).backgroundColor].map(luminance);
          return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
        });
      });
      assert.equal(contrasts.length, 180);
      assert(Math.min(...contrasts) >= 4.5, `the lowest contrast is ${Math.min(...contrasts)}`);
    },
    { colorScheme, prepare: answerWithEveryType, fragment: `#${new URLSearchParams({ text: TYPES_TEXT })}` },
  );
}

visit(
  "the page fits a phone",
  async (page) => {
    await loaded(page);
    await type(page, `${SENTENCE} https://example.org/${"long".repeat(40)} ${"w".repeat(120)}`);
    await fitsTheWidth(page);
    for (const tab of ["#tab-json", "#tab-curl", "#tab-words"]) {
      await page.locator(tab).click();
      await fitsTheWidth(page);
    }
    await accessible(page);
    await asked(page, () => page.getByText("many tongues").click());
    await fitsTheWidth(page);
    await screenshot(page, "page-phone", { fullPage: true });
  },
  { viewport: PHONE, hasTouch: true, isMobile: true },
);

visit("everything is reached by keyboard alone", async (page) => {
  await loaded(page);
  const reached = new Set();
  for (let presses = 0; presses < 60; presses += 1) {
    await page.keyboard.press("Tab");
    const focused = await page.evaluate(() => {
      const { activeElement } = document;
      if (activeElement === document.body) return { name: "" };
      const { outlineStyle, boxShadow } = getComputedStyle(activeElement);
      const framed = getComputedStyle(activeElement.closest(".sheet") ?? activeElement).boxShadow;
      const seen = outlineStyle !== "none" || boxShadow !== "none" || framed !== "none";
      return { name: activeElement.id || activeElement.className || activeElement.textContent, seen };
    });
    if (focused.name === "") break;
    assert(focused.seen, `${focused.name} shows no focus`);
    reached.add(focused.name);
  }
  for (const name of ["text", "threshold", "aggregation", "offsets", "words", "share", "entity", "chip", "tab-words", "word-list"]) {
    assert(reached.has(name), `${name} is not reached: ${[...reached].join(", ")}`);
  }
});
