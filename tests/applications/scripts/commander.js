// Browses a server with Redis Commander in headless Chromium, and prints what the page shows as JSON.
// Started as: commander.js CHROMIUM PROFILE_DIRECTORY PORT SCREENSHOT
"use strict";
const puppeteer = require("puppeteer-core");

const KEY = "session:abc";

async function main() {
  const [executablePath, userDataDir, port, screenshot] = process.argv.slice(2);
  const args = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
  const browser = await puppeteer.launch({ executablePath, userDataDir, args, headless: true });
  const page = await browser.newPage();
  await page.setViewport({ width: 1200, height: 800 });
  await page.goto(`http://127.0.0.1:${port}/`);

  const click = async (selector) => {
    await page.waitForSelector(selector);
    await page.$eval(selector, (element) => element.click());
  };
  const shown = (selector) => page.$eval(selector, (element) => element.innerText);
  const open = async (id) => {
    await click(`[id$=":${id}_anchor"]`);
    await page.waitForFunction((key) => document.querySelector("#itemData b")?.innerText === key, {}, id);
    return shown("#itemData");
  };

  await page.waitForSelector('[id$=":tags_anchor"]');
  const tree = await page.$$eval("#keyTree a", (links) => links.slice(1).map((link) => link.innerText.trim()));
  const pages = {};
  for (const key of ["tags", "board", "queue", "log"]) pages[key] = await open(key);
  await click('[id$=":session:"] > i.jstree-ocl');
  pages[KEY] = await open(KEY);

  // Edit the value, and look at it again.
  await page.waitForFunction(() => document.querySelector("#stringValue")?.value === "a token");
  await page.$eval("#stringValue", (element) => {
    element.value = "edited in the browser";
  });
  await page.screenshot({ path: screenshot });
  const saved = page.waitForResponse((response) => response.request().method() === "POST" && response.url().includes("/key/"));
  await click("#saveKeyButton");
  const status = (await saved).status();
  await open("tags");
  await open(KEY);
  await page.waitForFunction(() => document.querySelector("#stringValue")?.value === "edited in the browser");

  console.log(JSON.stringify({ tree, pages, status }));
  await browser.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
