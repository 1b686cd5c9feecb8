// The contract's page at `/docs`, and its console.

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { accessible, fitsTheWidth, LIMIT_MS, onPage, PHONE, screenshot, startBrowser, startServer } from "./fixture.mjs";

let base;
let browser;
let contract;

before(async () => {
  [base, browser] = await Promise.all([startServer(), startBrowser()]);
  contract = await (await fetch(`${base}/openapi.json`)).json();
});

const visit = (title, run, options) =>
  test(title, { timeout: LIMIT_MS }, () => onPage(browser, `${base}/docs`, run, options));
const loaded = (page) => page.locator("article").first().waitFor();
const operation = (page, method, path) => page.getByRole("article", { name: `${method} ${path}`, exact: true });

visit("every operation, status and field of the contract is on the page", async (page) => {
  await loaded(page);
  let operations = 0;
  for (const [path, item] of Object.entries(contract.paths)) {
    for (const [method, { responses, summary }] of Object.entries(item)) {
      const article = operation(page, method.toUpperCase(), path);
      assert.equal(await article.count(), 1, `${method} ${path}`);
      for (const status of Object.keys(responses)) {
        assert.equal(await article.locator(".response .status", { hasText: status }).count(), 1, `${status} of ${path}`);
      }
      assert((await article.textContent()).includes(summary.replaceAll("`", "")), summary);
      operations += 1;
    }
  }
  assert.equal(await page.locator("#contents a").count(), operations);
  const request = operation(page, "POST", "/ner").locator(".media").first();
  const shown = await request.locator("dt > code").allTextContents();
  const { properties } = contract.components.schemas.NerRequest;
  for (const name of Object.keys(properties)) assert(shown.includes(name), name);
  assert.match(await request.textContent(), /one of "codepoint", "byte", "utf16"/);
});

visit("the console sends the contract's example and shows the answer", async (page) => {
  await loaded(page);
  const article = operation(page, "POST", "/ner");
  await article.getByLabel("Body").focus();
  await page.keyboard.press("Control+Enter");
  await article.locator(".outcome .s2").waitFor();
  const answer = JSON.parse(await article.locator(".outcome > pre").textContent());
  assert.equal(answer.entities[1].text, "Barack Obama");
  await article.getByText("headers").click();
  assert.match(await article.locator(".headers pre").textContent(), /x-request-id: \S+/);
  await article.scrollIntoViewIfNeeded();
  await screenshot(page, "docs-console");
  await accessible(page);
  const info = operation(page, "GET", "/info");
  await info.getByRole("button", { name: "Send" }).click();
  await info.locator(".outcome .s2").waitFor();
});

visit("what a schema holds opens on demand", async (page) => {
  await loaded(page);
  const answer = operation(page, "POST", "/ner").locator("details.response", { hasText: "The entities of the text" });
  await answer.locator("summary").first().click();
  await answer.locator("dd", { hasText: "never overlapping" }).locator("summary").first().click();
  await answer.getByText("The entity's type.").waitFor();
});

visit(
  "an error of the API is shown, and markup in it is text",
  async (page) => {
    await loaded(page);
    const article = operation(page, "POST", "/ner");
    await article.getByLabel("Body").fill(JSON.stringify({ text: "", labels: ["<img src=x onerror=alert(1)>"] }));
    await article.getByRole("button", { name: "Send" }).click();
    await article.locator(".outcome .s4").waitFor();
    const { error } = JSON.parse(await article.locator(".outcome > pre").textContent());
    assert.equal(error.code, "invalid_request");
    assert.equal(await page.locator("main img").count(), 0);
  },
  { expected: [422] },
);

for (const colorScheme of ["light", "dark"]) {
  visit(
    `the contract is accessible in ${colorScheme} colours`,
    async (page) => {
      await loaded(page);
      await page.locator("details").evaluateAll((all) => all.forEach((details) => (details.open = true)));
      await accessible(page);
      await page.reload();
      await loaded(page);
      await screenshot(page, `docs-${colorScheme}`);
    },
    { colorScheme },
  );
}

visit(
  "the contract fits a phone",
  async (page) => {
    await loaded(page);
    await page.locator("details").evaluateAll((all) => all.forEach((details) => (details.open = true)));
    await fitsTheWidth(page);
    await screenshot(page, "docs-phone");
  },
  { viewport: PHONE, hasTouch: true, isMobile: true },
);
