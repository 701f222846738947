// Dialogs. Each is a promise of what was chosen; Escape chooses nothing.
import {element} from "./show.js";

// open shows a dialog until one of its buttons, or Escape, closes it: the button's value, "" for none.
export function open(content, buttons, wide) {
  return new Promise(resolve => {
    const back = document.activeElement;
    const dialog = element("dialog", {class: wide ? "wide" : undefined},
      element("form", {method: "dialog"}, ...content,
        element("div", {class: "buttons"}, ...buttons.map(b => element("button", {value: b.value, class: b.class, formnovalidate: !b.value}, b.text)))));
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (back && back.isConnected) back.focus();
      resolve(dialog.returnValue);
    });
    document.body.append(dialog);
    dialog.showModal();
    const first = dialog.querySelector("[autofocus]") ?? dialog.querySelector("button:last-of-type");
    first?.focus();
  });
}

export async function confirm(title, text, action, danger) {
  return "yes" === await open([element("h2", {}, title), element("p", {}, text)],
    [{value: "", text: "Cancel"}, {value: "yes", text: action, class: danger ? "danger" : "primary"}]);
}

// ask asks for a name; null if none was given.
export async function ask(title, label, value, action) {
  const input = element("input", {type: "text", value, required: true, "aria-label": label, autofocus: true, autocomplete: "off", spellcheck: "false"});
  // Of "report.tar.gz" what is before the first dot is selected: mostly that is to change.
  input.addEventListener("focus", () => input.setSelectionRange(0, value.lastIndexOf(".") > 0 ? value.indexOf(".", 1) : value.length), {once: true});
  // The first button is the one that Enter presses.
  const answer = await open([element("h2", {}, title), input, element("button", {value: "yes", hidden: true})],
    [{value: "", text: "Cancel"}, {value: "yes", text: action, class: "primary"}]);
  return answer === "yes" && input.value !== "" ? input.value : null;
}
