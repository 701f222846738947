// Who holds locks here, above and below.
import {here, locks, plain} from "./api.js";
import {open} from "./dialogs.js";
import {duration, element, say, visible} from "./show.js";

const button = document.getElementById("locks");
const every = 15000; // milliseconds
let held = [];

// lockOn returns what a row says of locks on a name; "" for nothing.
export function lockOn(name) {
  const path = (plain(here) ?? "") + name;
  const on = held.filter(l => !l.waiting && l.paths.some(p => p === path));
  return on.map(l => "locked by " + visible(l.owner || l.client || "somebody") + (l.description ? ": " + visible(l.description) : "")).join("\n");
}

// watchLocks looks for locks again and again, and calls changed when there are others.
export function watchLocks(changed) {
  async function look() {
    if (document.hidden) return;
    try {
      const before = JSON.stringify(held);
      held = await locks();
      button.textContent = held.length ? "Locks (" + held.length + ")" : "Locks";
      if (JSON.stringify(held) !== before) changed();
    } catch { } // they are shown as they were; who asks for them is told why
  }
  setInterval(look, every);
  look();
}

export async function showLocks() {
  try { held = await locks(); } catch (e) { return say(e.message, true); }
  const ago = t => t ? duration((Date.now() - Date.parse(t)) / 1000) : "";
  const rows = held.map(l => element("tr", {},
    element("td", {class: "path"}, l.paths.map(visible).join("\n") + (l.subtree ? " and below" : "")),
    element("td", {}, l.waiting ? "waits" : l.exclusive ? (l.mandatory ? "mandatory" : "exclusive") : "shared"),
    element("td", {class: "path", "data-label": "by"}, visible(l.owner || l.client || ""), l.description ? element("div", {class: "soft"}, visible(l.description)) : null),
    element("td", {"data-label": "for"}, ago(l.since)),
    element("td", {"data-label": "ends in"}, l.expires ? duration((Date.parse(l.expires) - Date.now()) / 1000) : "–")));
  await open([element("h2", {}, "Locks on paths here, above and below"),
    held.length ? element("div", {class: "scroll"}, element("table", {},
      element("thead", {}, element("tr", {}, ...["Path", "Mode", "Held by", "For", "Ends in"].map(t => element("th", {}, t)))),
      element("tbody", {}, ...rows))) : element("p", {class: "soft"}, "Nobody holds any.")],
  [{value: "", text: "Close", class: "primary"}], true);
}
