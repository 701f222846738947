// Requests to the door that this page came from.

// here is the directory that the page shows, as the address has it: percent-encoded, with a slash at its end.
export const here = location.pathname.endsWith("/") ? location.pathname : location.pathname + "/";

// query returns a percent-encoded path as the value of a parameter: exact also where it is not UTF-8.
export const query = path => path.replace(/[+&;=#?]/g, c => "%" + c.charCodeAt(0).toString(16).toUpperCase());

// plain returns a percent-encoded path as text; null if it is no UTF-8.
export function plain(path) {
  try { return decodeURIComponent(path); } catch { return null; }
}

// encode returns a name, or a relative path, percent-encoded.
export const encode = path => path.split("/").map(encodeURIComponent).join("/");

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// reason returns why a request was refused.
export async function reason(response) {
  let text = response.status + " " + response.statusText;
  try { text = (await response.json()).error.message; } catch { }
  return new Refused(response.status, text);
}

export async function call(method, url, headers = {}, body) {
  const response = await fetch(url, {method, headers: {Accept: "application/json", ...headers}, body, cache: "no-store"});
  if (!response.ok) throw await reason(response);
  return response;
}

// list returns the page of the directory that the address names.
export async function list() {
  const after = new URLSearchParams(location.search).has("after") ? location.search + "&" : "?";
  return (await call("GET", here + after + "format=json")).json();
}

export const mkdir = name => call("POST", here + "?mkdir", {"Content-Type": "application/x-www-form-urlencoded"}, new URLSearchParams({name}));

// rename moves an entry, by its reference, to a name or to a path.
export function rename(href, to) {
  const target = to.startsWith("/") ? encode(to) : here + encode(to);
  return call("MOVE", here + href.replace(/^\.\//, "").replace(/\/$/, ""), {Destination: target, Overwrite: "F"});
}

export const remove = (href, all) => call("DELETE", here + href.replace(/^\.\//, "") + (all ? "?recursive=true" : ""));

export const locks = async () => (await (await call("GET", "/-/v1/locks?path=" + query(here))).json()).locks;
