// A table's texts lie in its page; each button copies one of them.
async function copyText(pre) {
  try {
    await navigator.clipboard.writeText(pre.textContent);
    return true;
  } catch {  // no leave to write to the clipboard, or a browser that gives a file none: mark the text and copy the selection
    pre.closest("details").open = true;
    getSelection().selectAllChildren(pre);
    return document.execCommand("copy");
  }
}
for (const box of document.querySelectorAll(".copies")) {
  const [buttons, status] = [box.querySelector(".buttons"), box.querySelector("[role=status]")];
  buttons.hidden = false;
  buttons.querySelectorAll("button").forEach((button, place) => {
    button.addEventListener("click", async () => {
      const done = await copyText(box.querySelectorAll("pre")[place]);
      status.textContent = done ? `${button.textContent} copied` : "marked: copy it with Ctrl+C";
    });
  });
}
