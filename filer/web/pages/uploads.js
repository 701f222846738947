// Uploads: one after the other, large ones so that they go on where they broke off (tus 1.0.0), also after the page was closed.
import {here, encode, plain, reason, Refused} from "./api.js";
import {duration, element, size, visible} from "./show.js";

const small = 8 << 20; // bytes: what is no larger is sent anew when it breaks off
const pauses = [0, 500, 1000, 2000, 4000, 8000, 15000]; // milliseconds between tries
const triesMax = 12;
const remembered = "granary upload ";

const panel = document.getElementById("uploads"), queue = document.getElementById("queue"), sum = document.getElementById("sum");
const clear = document.getElementById("clear");
const all = [];
let working = false, changed = () => { };

export const busy = () => all.some(u => u.state === "waiting" || u.state === "sending");

// onChange has a function called when a file is there.
export function onChange(f) { changed = f; }

// add queues files: {file, path}, the path relative to this directory, and whether it may replace what is there.
export function add(files) {
  for (const f of files) all.push(new Upload(f.file, f.path, f.replace));
  panel.hidden = false;
  show();
  work();
}

class Upload {
  constructor(file, path, replace) {
    Object.assign(this, {file, path, replace, sent: 0, state: "waiting", note: "waiting", tries: 0});
    this.target = here + encode(path);
    this.progress = element("progress", {max: 1, value: 0, "aria-label": "Progress of " + visible(path)});
    this.text = element("div", {class: "note"});
    this.acts = element("div", {class: "acts"});
    this.row = element("li", {}, element("div", {class: "file", title: visible(path)}, visible(path)), this.acts, this.progress, this.text);
    queue.append(this.row);
    this.draw();
  }

  get key() { return remembered + [this.target, this.file.size, this.file.lastModified].join(" "); }

  draw() {
    this.progress.value = this.file.size ? this.sent / this.file.size : this.state === "done" ? 1 : 0;
    this.row.className = this.state;
    this.text.textContent = this.note;
    const acts = {
      waiting: [["Cancel", () => this.cancel()]],
      sending: [["Pause", () => this.pause()], ["Cancel", () => this.cancel()]],
      paused: [["Resume", () => this.resume()], ["Cancel", () => this.cancel()]],
      failed: [["Retry", () => this.resume()], ["Cancel", () => this.cancel()]],
    }[this.state] ?? [];
    if (this.drawn !== this.state) {
      this.drawn = this.state;
      this.acts.replaceChildren(...acts.map(([text, onclick]) => element("button", {type: "button", onclick}, text)));
    }
    show();
  }

  to(state, note) {
    Object.assign(this, {state, note});
    this.draw();
  }

  pause() { this.to("paused", "paused at " + size(this.sent)); this.request?.abort(); this.wake?.(); }
  resume() { this.tries = 0; this.to("waiting", "waiting"); work(); }

  cancel() {
    const at = this.location ?? localStorage.getItem(this.key);
    this.to("cancelled", "cancelled");
    this.request?.abort();
    this.wake?.();
    this.row.remove();
    all.splice(all.indexOf(this), 1);
    this.forget();
    if (at) fetch(at, {method: "DELETE", headers: {"Tus-Resumable": "1.0.0"}}).catch(() => { }); // else it expires
    show();
  }

  remember() { try { localStorage.setItem(this.key, this.location); } catch { } } // then it does not outlive the page
  forget() { try { localStorage.removeItem(this.key); } catch { } }

  // run sends the file, and tries again when that breaks off.
  async run() {
    this.to("sending", "");
    while (this.state === "sending") {
      try {
        await (this.file.size > small && Upload.resumable ? this.sendTus() : this.put());
        if (this.state !== "sending") return;
        this.forget();
        this.sent = this.file.size;
        this.to("done", size(this.file.size) + " uploaded");
        changed(this.path);
        return;
      } catch (e) {
        if (this.state !== "sending") return;
        const again = !(e instanceof Refused) || e.status >= 500 && e.status !== 501 || e.status === 409 || e.status === 423;
        if (!again || ++this.tries > triesMax) {
          this.to("failed", e.status === 412 ? "there is a file of this name by now" : e.message);
          return;
        }
        const rest = pauses[Math.min(this.tries, pauses.length - 1)];
        this.note = e.message + " – trying again";
        this.draw();
        await new Promise(resolve => { this.wake = resolve; setTimeout(resolve, rest); });
      }
    }
  }

  put() {
    this.sent = 0;
    const headers = {Accept: "application/json", "Content-Type": this.file.type || "application/octet-stream"};
    if (!this.replace) headers["If-None-Match"] = "*";
    return this.send("PUT", this.target, headers, this.file, 0);
  }

  // sendTus goes on with an upload that is known, or begins one, and sends all that is left in one request.
  async sendTus() {
    const resumable = {"Tus-Resumable": "1.0.0"};
    this.location ??= localStorage.getItem(this.key);
    let offset = 0;
    if (this.location) {
      const r = await fetch(this.location, {method: "HEAD", headers: resumable, cache: "no-store"});
      if (r.ok) offset = Number(r.headers.get("Upload-Offset"));
      else if (r.status === 404 || r.status === 410) this.location = null;
      else throw await reason(r);
    }
    if (!this.location) {
      const path = plain(this.target);
      if (path === null) return this.put(); // the metadata of tus would be no UTF-8, which others could not read
      const metadata = {path, filetype: this.file.type || "application/octet-stream"};
      const headers = {...resumable, "Upload-Length": String(this.file.size), Accept: "application/json",
        "Upload-Metadata": Object.entries(metadata).map(([k, v]) => k + " " + base64(v)).join(",")};
      if (!this.replace) headers["If-None-Match"] = "*";
      const r = await fetch("/-/tus/", {method: "POST", headers});
      if (r.status === 404 || r.status === 501) {
        Upload.resumable = false;
        return this.put();
      }
      if (!r.ok) throw await reason(r);
      this.location = new URL(r.headers.get("Location"), location.href).pathname;
      this.remember();
    }
    this.sent = offset;
    if (offset < this.file.size) {
      await this.send("PATCH", this.location, {...resumable, "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream"},
        this.file.slice(offset), offset);
    }
  }

  // send sends a body by XMLHttpRequest: fetch does not tell how much has been sent.
  send(method, url, headers, body, offset) {
    return new Promise((resolve, reject) => {
      if (this.state !== "sending") return resolve();
      const x = this.request = new XMLHttpRequest();
      const begun = performance.now();
      x.open(method, url);
      for (const [name, value] of Object.entries(headers)) x.setRequestHeader(name, value);
      x.upload.onprogress = e => {
        this.sent = offset + Math.min(e.loaded, body.size);
        const rate = e.loaded / (performance.now() - begun) * 1000;
        if (e.loaded > 1 << 20) this.tries = 0; // it goes on
        this.note = size(this.sent) + " of " + size(this.file.size) + (rate > 0 ? ", " + size(Math.round(rate)) + "/s, " +
          duration((this.file.size - this.sent) / rate) + " left" : "");
        this.draw();
      };
      x.onload = () => {
        if (x.status < 300) return resolve();
        let text = x.status + " " + x.statusText;
        try { text = JSON.parse(x.responseText).error.message; } catch { }
        reject(new Refused(x.status, text));
      };
      x.onerror = () => reject(new Error("the connection was lost"));
      x.onabort = () => resolve();
      x.send(body);
    });
  }
}
Upload.resumable = true;

const base64 = text => btoa(String.fromCharCode(...new TextEncoder().encode(text)));

async function work() {
  if (working) return;
  working = true;
  for (let next; (next = all.find(u => u.state === "waiting"));) await next.run();
  working = false;
  show();
}

function show() {
  const of = state => all.filter(u => u.state === state).length;
  const left = of("waiting") + of("sending"), failed = of("failed"), done = of("done");
  sum.textContent = [left && (left === 1 ? "1 upload" : left + " uploads"), of("paused") && of("paused") + " paused", failed && failed + " failed", done && done + " done"]
    .filter(Boolean).join(", ") || "No uploads";
  clear.hidden = left > 0;
  if (!all.length) panel.hidden = true;
  document.title = document.title.replace(/^\(\d+ %\) /, "");
  const bytes = all.reduce((n, u) => n + u.file.size, 0);
  if (left && bytes) document.title = "(" + Math.floor(100 * all.reduce((n, u) => n + u.sent, 0) / bytes) + " %) " + document.title;
}

clear.addEventListener("click", () => {
  for (const u of all.filter(u => u.state === "done")) u.row.remove();
  all.splice(0, all.length, ...all.filter(u => u.state !== "done"));
  panel.hidden = true;
});

addEventListener("beforeunload", e => { if (busy()) e.preventDefault(); });
