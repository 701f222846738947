// What people do with the page of a directory, in a browser: see TestE2EPage.
import assert from "node:assert/strict";
import {execFileSync} from "node:child_process";
import net from "node:net";
import {chromium} from "playwright-core";

const shots = process.env.SHOTS, server = new URL(process.env.BASE);

// Between the browser and the server are connections that can be cut.
const connections = new Set();
const between = net.createServer(a => {
  const b = net.connect(Number(server.port), server.hostname);
  for (const [from, to] of [[a, b], [b, a]]) {
    connections.add(from);
    from.on("error", () => { }).on("close", () => { connections.delete(from); to.destroy(); }).pipe(to);
  }
});
await new Promise(resolve => between.listen(0, "127.0.0.1", resolve));
const base = "http://127.0.0.1:" + between.address().port;
const cut = () => { for (const c of connections) c.destroy(); };

const browser = await chromium.launch({executablePath: process.env.CHROMIUM, headless: true, args: ["--no-sandbox", "--disable-gpu", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"]});
const evil = `<img src=x onerror="document.title='owned'">`;
const put = (path, body) => fetch(base + path, {method: "PUT", body});
const granary = (...args) => execFileSync(process.env.BINARY, args, {env: process.env});

await put("/people/notes.txt", "hello");
await put("/people/report 2026.pdf", "x".repeat(70000));
await put("/people/" + encodeURIComponent(evil.replace("/", "")), "evil");
await put("/people/archive/old.txt", "old");
await put("/people/%E6%96%87%E6%9B%B8.txt", "unicode");

const problems = [];
async function open(width, height, scheme = "light") {
  const context = await browser.newContext({viewport: {width, height}, colorScheme: scheme});
  const page = await context.newPage();
  page.on("pageerror", e => problems.push(String(e)));
  page.on("console", m => { if (m.type() === "error" && !/status of (404|409|412|503)|ERR_CONNECTION|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY_RESPONSE/.test(m.text())) problems.push(m.text()); });
  await page.goto(base + "/people/");
  await page.locator("#live.on").waitFor();
  return page;
}
const shot = async (page, name) => { if (shots) await page.screenshot({path: `${shots}/${name}.png`}); };
const row = (page, name) => page.locator("#rows tr").filter({has: page.locator("td.name a.open", {hasText: name})});
const step = name => console.log(name);

const page = await open(1280, 800);
step("what users name is text");
assert.equal(await page.locator("#rows img").count(), 0);
await row(page, "<img src=x").waitFor();
assert.match(await page.title(), /people/);

step("others' changes come by themselves");
await put("/people/from-elsewhere.txt", "new");
await row(page, "from-elsewhere.txt").waitFor();
await fetch(base + "/people/from-elsewhere.txt", {method: "DELETE"});
await row(page, "from-elsewhere.txt").waitFor({state: "detached"});

step("a directory is made, renamed and removed by the keyboard");
await page.locator("body").press("n");
await page.keyboard.type("made here");
await page.keyboard.press("Enter");
await row(page, "made here/").waitFor();
await put("/people/made%20here/full.txt", "full");
await row(page, "made here/").locator("a.open").focus();
await page.keyboard.press("r");
await page.locator("dialog input[type=text]").fill("renamed");
await page.keyboard.press("Enter");
await row(page, "renamed/").waitFor();
await row(page, "renamed/").locator("a.open").focus();
await page.keyboard.press("Delete");
await page.getByRole("button", {name: "Delete", exact: true}).click();
await page.getByRole("button", {name: "Delete all"}).click();
await row(page, "renamed/").waitFor({state: "detached"});

step("arrows, filter and sorting");
await page.keyboard.press("Escape");
await page.keyboard.press("j");
await page.keyboard.press("j");
assert.equal(await page.evaluate(() => document.activeElement.textContent), "archive/");
await page.keyboard.press("/");
await page.keyboard.type("REPORT");
assert.equal(await page.locator("#rows tr:not(.up)").count(), 1);
await page.keyboard.press("Escape");
await page.getByRole("button", {name: "Size"}).click();
assert.equal(await page.locator("th.size").getAttribute("aria-sort"), "ascending");
await page.getByRole("button", {name: "Name", exact: true}).click();

step("a name that is taken is refused");
await row(page, "notes.txt").locator("button.rename").click();
await page.locator("dialog input[type=text]").fill("report 2026.pdf");
await page.keyboard.press("Enter");
await page.locator("#status.bad").waitFor();
await shot(page, "wide-refused");

step("locks");
granary("lock", "acquire", "/people/notes.txt", "--owner", evil, "--note", "the <b>yearly</b> report", "--ttl", "10m");
await page.locator("body").press("l");
await page.locator("dialog td", {hasText: "notes.txt"}).waitFor();
assert.equal(await page.locator("dialog img, dialog b").count(), 0);
await shot(page, "wide-locks");
await page.keyboard.press("Escape");
await page.reload();
await row(page, "notes.txt").locator(".locked").waitFor();

step("a download");
const [download] = await Promise.all([page.waitForEvent("download"), row(page, "notes.txt").locator("a.download").click()]);
assert.equal(download.suggestedFilename(), "notes.txt");

step("files are dropped");
const dropped = await page.evaluateHandle(() => {
  const t = new DataTransfer();
  t.items.add(new File(["dropped"], "dropped.txt", {type: "text/plain"}));
  return t;
});
await page.dispatchEvent("body", "dragenter", {dataTransfer: dropped});
await page.locator("body.drop").waitFor();
await page.dispatchEvent("body", "drop", {dataTransfer: dropped});
await row(page, "dropped.txt").waitFor();
assert.equal(await (await fetch(base + "/people/dropped.txt")).text(), "dropped");
await page.getByRole("button", {name: "Close"}).click();

step("an upload with progress, paused, resumed, cut off, and gone on with");
const cdp = await page.context().newCDPSession(page);
await cdp.send("Network.enable");
const throttle = uploadThroughput => cdp.send("Network.emulateNetworkConditions", {offline: false, latency: 0, downloadThroughput: -1, uploadThroughput});
await throttle(3 << 20);
const offsets = [];
page.on("request", r => { if (r.method() === "PATCH") offsets.push(Number(r.headers()["upload-offset"])); });
await page.setInputFiles("#files", ["large.bin", "small.txt"]);
await page.waitForFunction(() => document.querySelector("#queue progress").value > 0.15);
await shot(page, "wide-upload");
await page.getByRole("button", {name: "Pause"}).click();
await page.locator("#queue li.paused").waitFor();
await page.getByRole("button", {name: "Resume"}).click();
await page.waitForFunction(() => document.querySelector("#queue progress").value > 0.35);
cut();
await page.locator("#queue .note", {hasText: "trying again"}).waitFor();
await page.waitForFunction(() => document.querySelector("#queue progress").value > 0.5);
await throttle(-1);
await page.locator("#queue li.done").nth(1).waitFor();
await row(page, "large.bin").waitFor();
assert.ok(offsets.length >= 3 && offsets[0] === 0 && offsets.at(-1) > offsets[1] && offsets[1] > 0, "it went on from " + offsets);
await shot(page, "wide-done");

step("what is there already is asked for");
await page.setInputFiles("#files", ["small.txt"]);
await page.getByRole("button", {name: "Leave them"}).click();
await page.setInputFiles("#files", ["small.txt"]);
await page.getByRole("button", {name: "Replace"}).click();
await page.locator("#queue li.done").nth(2).waitFor();
assert.equal(await page.locator("#queue li").count(), 3);
await page.getByRole("button", {name: "Close"}).click();

step("a narrow window, in the dark");
const phone = await open(390, 844, "dark");
assert.ok(await phone.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "the page is wider than the window");
const phoneCDP = await phone.context().newCDPSession(phone);
await phoneCDP.send("Network.enable");
await phoneCDP.send("Network.emulateNetworkConditions", {offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 2 << 20});
await phone.setInputFiles("#files", [{name: "a film with a name that is rather long for a narrow window.mkv", mimeType: "video/x-matroska", buffer: Buffer.alloc(20 << 20, 7)},
  {name: "next.bin", mimeType: "application/octet-stream", buffer: Buffer.alloc(9 << 20)}]);
await phone.waitForFunction(() => document.querySelector("#queue progress").value > 0.3);
await shot(phone, "narrow-upload");
assert.ok(await phone.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "with an upload, the page is wider than the window");
while (await phone.locator("#queue li:not(.done)").count()) await phone.getByRole("button", {name: "Cancel"}).last().click();
await phone.getByRole("button", {name: "Locks"}).click();
await phone.locator("dialog td", {hasText: "notes.txt"}).waitFor();
await shot(phone, "narrow-locks");
await phone.keyboard.press("Escape");
await phone.locator("#uploads").waitFor({state: "hidden"});
await shot(phone, "narrow");
const dark = await open(1280, 800, "dark");
await dark.keyboard.press("?");
await shot(dark, "wide-dark-help");

assert.equal(await page.title().then(t => t.includes("owned")), false);
assert.deepEqual(problems, []);
await browser.close();
between.close();
cut();
console.log("all is well");
