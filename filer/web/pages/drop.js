// Files and directories that are dropped on the page.

// dropped calls f with what is dropped: {file, path}.
export function dropped(f, failed) {
  let depth = 0;
  const holdsFiles = e => e.dataTransfer && [...e.dataTransfer.types].includes("Files");
  function hover(e, step) {
    if (!holdsFiles(e)) return;
    e.preventDefault();
    depth = Math.max(0, depth + step);
    document.body.classList.toggle("drop", depth > 0);
  }
  addEventListener("dragenter", e => hover(e, 1));
  addEventListener("dragleave", e => hover(e, -1));
  addEventListener("dragover", e => hover(e, 0));
  addEventListener("drop", e => {
    if (!holdsFiles(e)) return;
    e.preventDefault();
    depth = 0;
    document.body.classList.remove("drop");
    const entries = [...e.dataTransfer.items].map(i => i.webkitGetAsEntry?.()).filter(Boolean); // now: they are not there later
    const plain = [...e.dataTransfer.files].map(file => ({file, path: file.name}));
    (entries.length ? walk(entries) : Promise.resolve(plain)).then(f).catch(failed);
  });
}

// walk returns all files of entries, and of the directories among them.
async function walk(entries, below = "") {
  const files = [];
  for (const entry of entries) {
    if (entry.isFile) {
      files.push({file: await new Promise((resolve, reject) => entry.file(resolve, reject)), path: below + entry.name});
      continue;
    }
    const reader = entry.createReader();
    for (;;) { // it gives some at a time
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) break;
      files.push(...await walk(some, below + entry.name + "/"));
    }
  }
  return files;
}
