// How things are shown. Nothing here makes markup of what users have named: all text goes into text nodes.

// visible is a name as it can be shown: control characters as their pictures, and what would turn the direction of the text around as U+FFFD.
export const visible = name => name
  .replace(/[\u0000-\u001f]/g, c => String.fromCharCode(0x2400 + c.charCodeAt(0)))
  .replace(/\u007f/g, "\u2421")
  .replace(/[\u0080-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");

export function size(n) {
  let unit = 0;
  for (; n >= 1023.95 && unit < 6; unit++) n /= 1024;
  return (unit ? n.toFixed(1) : n) + " " + ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"][unit];
}

export function duration(seconds) {
  if (!isFinite(seconds)) return "";
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min";
  if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor(s % 3600 / 60) + " min";
  return Math.floor(s / 86400) + " d";
}

// element makes an element with attributes and children; what is no element becomes text.
export function element(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false || value === null) continue;
    if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
    else e.setAttribute(name, value === true ? "" : value);
  }
  e.append(...children.filter(c => c !== undefined && c !== null && c !== false));
  return e;
}

const line = document.getElementById("status");

export function say(text, bad) {
  line.textContent = text;
  line.className = bad ? "bad" : "soft";
}
