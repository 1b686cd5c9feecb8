// One server and one browser for a test file, and pages that watch what they do.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { chromium } from "playwright-core";

const REPOSITORY = fileURLToPath(new URL("../../", import.meta.url));
const ARTEFACTS = `${REPOSITORY}target/browser/`;
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
export const DESKTOP = { width: 1280, height: 900 };
export const PHONE = { width: 360, height: 740 };
/** Of one test. */
export const LIMIT_MS = 60_000;
const CLOSING_MS = 10_000;

mkdirSync(ARTEFACTS, { recursive: true });

/** What ends the servers and browsers that were started. */
const endings = [];
after(() => Promise.all(endings.map((end) => end())));

/** The address of a server of the default model, ended after the file's tests. */
export async function startServer(...options) {
  const args = ["--model", "models/default", "--listen", "127.0.0.1:0", "--log", "json", ...options];
  const server = spawn(`${REPOSITORY}target/release/nerve-server`, args, {
    cwd: REPOSITORY,
    stdio: ["ignore", "ignore", "pipe"],
  });
  endings.push(() => server.kill());
  const base = `http://${await listening(server)}`;
  // Someone must read on, or the server would block on a full pipe.
  server.stderr.resume();
  await ready(base);
  return base;
}

async function listening(server) {
  const log = [];
  for await (const line of createInterface({ input: server.stderr })) {
    log.push(line);
    const address = line.startsWith("{") ? JSON.parse(line).fields?.address : undefined;
    if (address !== undefined) return address;
  }
  throw new Error(`the server ended before it listened:\n${log.join("\n")}`);
}

async function ready(base) {
  const deadline = Date.now() + 30_000;
  while (!(await fetch(`${base}/health/ready`)).ok) {
    assert(Date.now() < deadline, "the server is not ready after 30 s");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A browser with a new, empty profile, closed after the file's tests. */
export async function startBrowser() {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS, headless: true });
  endings.push(() => browser.close());
  return browser;
}

/**
 * A page of its own context at `url`, passed to `visit`; afterwards nothing may have gone wrong on it.
 *
 * `expected` are statuses of requests that are meant to fail, which Chromium reports on the console; `prepare` sees the
 * page before it loads.
 */
export async function onPage(browser, url, visit, { expected = [], prepare = () => {}, ...context } = {}) {
  const opened = await browser.newContext({ viewport: DESKTOP, ...context });
  const page = await opened.newPage();
  page.setDefaultTimeout(10_000);
  const wrong = [];
  const meant = (text) => expected.some((status) => text.includes(`status of ${status} `));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !meant(message.text())) wrong.push(message.text());
  });
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== new URL(url).origin) wrong.push(`request to ${request.url()}`);
  });
  try {
    await prepare(page);
    await page.goto(url);
    await visit(page);
    assert.deepEqual(wrong, []);
  } finally {
    // Chromium has been seen to keep a context open whose last request was given up; the browser's end takes it along.
    const late = AbortSignal.timeout(CLOSING_MS);
    await Promise.race([opened.close(), new Promise((resolve) => late.addEventListener("abort", resolve))]);
  }
}

/** Keeps a picture of the page under target/browser. */
export const screenshot = (page, name, options = {}) => page.screenshot({ path: `${ARTEFACTS}${name}.png`, ...options });

/** Fails with what axe-core finds wrong. */
export async function accessible(page) {
  await page.evaluate(AXE);
  const { violations, passes } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const found = violations.map(({ id, help, nodes }) => ({
    id,
    help,
    nodes: nodes.map(({ html, failureSummary }) => `${html}\n${failureSummary}`),
  }));
  assert.deepEqual(found, []);
  assert(passes.length > 10, "axe-core looked at nothing");
}

/** Fails where the page is wider than its window. */
export async function fitsTheWidth(page) {
  const [content, window] = await page.evaluate(() => [
    document.documentElement.scrollWidth,
    document.documentElement.clientWidth,
  ]);
  assert(content <= window, `the page is ${content} px wide in a window of ${window} px`);
}
