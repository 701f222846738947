// Changes as they come: server-sent events. A page that nobody sees does not listen, for a browser has few connections to one host.
import {here, plain, query} from "./api.js";

const mark = document.getElementById("live");
const dir = plain(here)?.replace(/(.)\/$/, "$1");
let source = null;

function parent(path) {
  const i = path.lastIndexOf("/");
  return i <= 0 ? "/" : path.slice(0, i);
}

// follow calls changed with the names that were changed in this directory, or with null if that is not known.
export function follow(changed) {
  mark.hidden = false;
  function listen() {
    source?.close();
    source = new EventSource("/-/v1/watch?path=" + query(here));
    const state = (name, text) => { mark.className = name; mark.textContent = text; };
    state("", "connecting");
    source.onopen = () => state("on", "live");
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) state("off", "not live: load the page anew to see changes");
      else state("off", "reconnecting");
    };
    source.addEventListener("change", e => {
      const c = JSON.parse(e.data);
      const names = [c.path, c.oldPath].filter(p => p && (dir === undefined || parent(p) === dir)).map(p => p.slice(p.lastIndexOf("/") + 1));
      if (names.length) changed(names);
    });
    source.addEventListener("behind", () => changed(null));
    source.addEventListener("removed", () => { source.close(); state("off", "this directory was removed"); });
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      source?.close();
      source = null;
    } else if (!source) {
      listen();
      changed(null);
    }
  });
  addEventListener("pagehide", () => source?.close());
  if (!document.hidden) listen();
}
