// The page of a directory: what is in it, as it changes, and what can be done with it. Without scripts there are the links and two forms.
import {here, list, mkdir, remove, rename} from "./api.js";
import {ask, confirm, open} from "./dialogs.js";
import {dropped} from "./drop.js";
import {follow} from "./live.js";
import {lockOn, showLocks, watchLocks} from "./locks.js";
import {element, say, size, visible} from "./show.js";
import {add, onChange} from "./uploads.js";

const rows = document.getElementById("rows"), empty = document.getElementById("empty"), filter = document.getElementById("filter");
const up = rows.querySelector("tr.up");
let entries = [], sort = {by: "name", down: false};

// Listing.

const order = {
  name: (a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0,
  size: (a, b) => a.size - b.size || order.name(a, b),
  time: (a, b) => a.mtime < b.mtime ? -1 : a.mtime > b.mtime ? 1 : order.name(a, b),
};

function draw(marked = []) {
  const focused = document.activeElement?.closest?.("tr")?.dataset.href, within = document.activeElement?.className;
  const wanted = filter.value.toLowerCase();
  const shown = entries.filter(e => e.name.toLowerCase().includes(wanted)).sort((a, b) =>
    (b.type === "directory") - (a.type === "directory") || (sort.down ? -1 : 1) * order[sort.by](a, b));
  rows.replaceChildren(...(up ? [up] : []), ...shown.map(e => row(e, marked.includes(e.name))));
  empty.hidden = shown.length > 0;
  if (entries.length && !shown.length) empty.textContent = "Nothing here has such a name.";
  else if (!entries.length) empty.textContent = "This directory is empty. Drop files here, or press Upload.";
  if (focused) {
    const again = [...rows.children].find(r => r.dataset.href === focused);
    (again?.querySelector(within ? "." + within.split(" ")[0] : "a") ?? again?.querySelector("a"))?.focus({preventScroll: true});
  }
}

function row(e, marked) {
  const name = visible(e.name), directory = e.type === "directory", lock = lockOn(e.name);
  const act = (cls, title, text, onclick) => element("button", {type: "button", class: cls, title, "aria-label": title + " " + name, onclick}, text);
  return element("tr", {class: e.type + (marked ? " changed" : ""), "data-href": e.href},
    element("td", {class: "name"}, element("a", {href: e.href, class: "open"}, name + (directory ? "/" : "")),
      e.target ? element("span", {class: "soft"}, " → " + visible(e.target)) : null,
      lock ? element("span", {class: "locked", title: lock}, "locked") : null),
    element("td", {class: "size", title: e.type === "file" ? e.size + " bytes" : undefined}, e.type === "file" ? size(e.size) : "–"),
    element("td", {class: "time"}, element("time", {datetime: e.mtime}, e.mtime.slice(0, 16).replace("T", " "))),
    element("td", {class: "act"},
      e.type === "file" || directory ? element("a", {class: "download", href: e.href + (directory ? "?zip" : "?download"), title: directory ? "Download as zip" : "Download",
        "aria-label": "Download " + name}, "↓") : null,
      act("rename", "Rename", "✎", () => renameEntry(e)),
      act("delete", "Delete", "✕", () => deleteEntry(e))));
}

let loading = null, again = false;

// load shows the directory as it is now; marked are names that have changed.
async function load(marked = []) {
  if (loading) {
    again = true;
    return loading;
  }
  loading = (async () => {
    try {
      entries = (await list()).entries;
      draw(marked);
    } catch (e) {
      say(e.message, true);
    }
  })();
  await loading;
  loading = null;
  if (again) {
    again = false;
    return load(marked);
  }
}

// Changes that come together are shown together.
let pending = new Set(), timer = 0;
function changed(names) {
  for (const n of names ?? []) pending.add(n);
  clearTimeout(timer);
  timer = setTimeout(() => {
    const marked = [...pending];
    pending = new Set();
    load(marked);
  }, pending.size > 20 ? 1000 : 150);
}

for (const th of document.querySelectorAll("th[data-by]")) {
  const by = th.dataset.by, button = element("button", {type: "button", onclick: () => {
    sort = {by, down: sort.by === by && !sort.down};
    for (const o of document.querySelectorAll("th[data-by]")) o.removeAttribute("aria-sort");
    th.setAttribute("aria-sort", sort.down ? "descending" : "ascending");
    draw();
  }}, th.textContent);
  th.replaceChildren(button);
}

// Actions.

const tell = f => (...args) => Promise.resolve(f(...args)).catch(e => say(e.message, true));

const renameEntry = tell(async e => {
  const to = await ask("Rename “" + visible(e.name) + "”", "New name, or a path that begins with /", e.name, "Rename");
  if (to === null || to === e.name) return;
  await rename(e.href, to);
  say("Renamed to “" + visible(to) + "”.");
  await load([to]);
});

const deleteEntry = tell(async e => {
  const name = "“" + visible(e.name) + "”";
  if (!await confirm("Delete " + name + "?", lockOn(e.name) || "It is gone for good.", "Delete", true)) return;
  try {
    await remove(e.href);
  } catch (err) {
    if (err.status !== 409 || e.type !== "directory") throw err;
    if (!await confirm(name + " is not empty", "Delete it with everything in it?", "Delete all", true)) return;
    await remove(e.href, true);
  }
  const next = neighbour(1) ?? neighbour(-1);
  const to = next?.dataset.href;
  say("Deleted " + name + ".");
  await load();
  [...rows.children].find(r => r.dataset.href === to)?.querySelector("a").focus();
});

const makeDirectory = tell(async () => {
  const name = await ask("New directory", "Name", "", "Create");
  if (name === null) return;
  await mkdir(name);
  await load([name]);
});

const upload = tell(async files => {
  files = files.filter(f => f.file);
  const there = new Set(entries.map(e => e.name)), known = files.filter(f => there.has(f.path));
  let replace = false;
  if (known.length) {
    const answer = await open([element("h2", {}, known.length === 1 ? "“" + visible(known[0].path) + "” is there already" : known.length + " of the files are there already"),
      element("p", {class: "soft"}, known.slice(0, 8).map(f => visible(f.path)).join("\n") + (known.length > 8 ? "\n…" : ""))],
    [{value: "", text: "Cancel"}, {value: "skip", text: "Leave them"}, {value: "replace", text: "Replace", class: "danger"}]);
    if (!answer) return;
    replace = answer === "replace";
    if (!replace) files = files.filter(f => !there.has(f.path));
  }
  if (files.length) add(files.map(f => ({...f, replace: replace && there.has(f.path)})));
});

const help = () => open([element("h2", {}, "Keys"), element("dl", {}, ...[
  ["j k ↓ ↑", "next, previous"], ["Enter", "open"], ["Backspace", "parent directory"], ["d", "download"], ["r", "rename"], ["Delete", "delete"],
  ["u", "upload files"], ["n", "new directory"], ["l", "locks"], ["/", "filter"], ["Esc", "back to the list"],
].flatMap(([keys, what]) => [element("dt", {}, ...keys.split(" ").map(k => element("kbd", {}, k))), element("dd", {}, what)]))],
[{value: "", text: "Close", class: "primary"}]);

// Keys.

const visibleRows = () => [...rows.children];
const current = () => document.activeElement?.closest?.("#rows > tr");

function neighbour(step) {
  const list = visibleRows(), at = list.indexOf(current());
  return list[at < 0 ? (step > 0 ? 0 : list.length - 1) : at + step];
}

function go(step) {
  const to = neighbour(step);
  to?.querySelector("a").focus();
  to?.scrollIntoView({block: "nearest"});
}

const entryOf = r => entries.find(e => e.href === r?.dataset.href);

addEventListener("keydown", e => {
  if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector("dialog[open]")) return;
  const typing = e.target instanceof HTMLInputElement;
  if (typing) {
    if (e.key === "Escape") { filter.value = ""; draw(); filter.blur(); } else if (e.key === "ArrowDown" || e.key === "Enter") go(1); else return;
    return e.preventDefault();
  }
  const r = current(), entry = entryOf(r);
  const keys = {
    j: () => go(1), ArrowDown: () => go(1), k: () => go(-1), ArrowUp: () => go(-1),
    Backspace: () => up && location.assign("../"), u: () => pick.click(), n: makeDirectory, l: showLocks, "/": () => filter.focus(), "?": help,
    r: entry && (() => renameEntry(entry)), F2: entry && (() => renameEntry(entry)), d: entry && (() => r.querySelector(".download")?.click()),
    Delete: entry && (() => deleteEntry(entry)), x: entry && (() => deleteEntry(entry)), Escape: () => document.activeElement?.blur(),
  };
  const f = keys[e.key];
  if (!f) return;
  e.preventDefault();
  f();
});

const pick = document.getElementById("pick"), files = document.getElementById("files"), directory = document.getElementById("directory");
pick.addEventListener("click", () => files.click());
document.getElementById("pickdir").addEventListener("click", () => directory.click());
for (const input of [files, directory]) {
  input.addEventListener("change", () => {
    upload([...input.files].map(file => ({file, path: file.webkitRelativePath || file.name})));
    input.value = "";
  });
}
document.getElementById("mkdir").addEventListener("click", makeDirectory);
document.getElementById("locks").addEventListener("click", tell(showLocks));
document.getElementById("help").addEventListener("click", help);
filter.addEventListener("input", () => draw());
document.getElementById("bar").hidden = false;
onChange(path => changed([path.split("/")[0]]));
dropped(upload, e => say(e.message, true));
follow(changed);
watchLocks(() => draw());
if (here !== location.pathname) history.replaceState(null, "", here + location.search);
load();
