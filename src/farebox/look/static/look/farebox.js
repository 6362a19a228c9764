// What pages do beyond forms and links: copy, ask before what is dangerous, show that it takes a while. Everything works
// without it.
"use strict";
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent.trim());
    const before = button.textContent;
    button.textContent = button.dataset.copied;
    setTimeout(() => { button.textContent = before; }, 1500);
  } catch {
    const range = document.createRange();
    range.selectNodeContents(source);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
  }
});
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-open]");
  if (opener) document.getElementById(opener.dataset.open).showModal();
  const closer = event.target.closest("[data-close]");
  if (closer) closer.closest("dialog").close();
});
for (const each of document.querySelectorAll("[data-needs-script]")) each.hidden = false;

// The menu beside the page: open where the stylesheet can't show a closed one.
if (!CSS.supports("selector(::details-content)") && matchMedia("(min-width: 960px)").matches) {
  for (const each of document.querySelectorAll(".side details")) each.open = true;
}

// A button with data-ask does its work after a second yes; data-keep is the word for no.
let agreed = null;
function ask(button) {
  const dialog = document.createElement("dialog");
  const words = document.createElement("p");
  const answers = document.createElement("p");
  const yes = document.createElement("button");
  const no = document.createElement("button");
  words.id = "ask";
  words.textContent = button.dataset.ask;
  dialog.setAttribute("aria-labelledby", words.id);
  answers.className = "row";
  yes.type = no.type = "button";
  yes.className = "button danger";
  yes.textContent = button.textContent;
  no.className = "button";
  no.textContent = button.dataset.keep;
  no.autofocus = true;
  yes.addEventListener("click", () => {
    dialog.close();
    agreed = button;
    button.form.requestSubmit(button);
    agreed = null;
  });
  no.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  answers.append(yes, no);
  dialog.append(words, answers);
  document.body.append(dialog);
  dialog.showModal();
}

// A form is sent once; after 300 ms its button shows that it is under way.
const SHOWN_MS = 300;
const GIVEN_UP_MS = 40000; // the answer was a file, or somebody has stopped waiting for it
const sent = new Map();
function release(form) {
  const { button, timers } = sent.get(form);
  timers.forEach(clearTimeout);
  sent.delete(form);
  form.removeAttribute("aria-busy");
  button?.classList.remove("busy");
  button?.removeAttribute("aria-disabled");
}
document.addEventListener("submit", (event) => {
  const { target: form, submitter: button } = event;
  if (event.defaultPrevented) return; // a script of the page sends it, or will
  if (sent.has(form)) return event.preventDefault();
  if (button?.dataset.ask && agreed !== button && window.HTMLDialogElement && form.requestSubmit) {
    event.preventDefault();
    return ask(button);
  }
  const show = () => {
    form.setAttribute("aria-busy", "true");
    button?.classList.add("busy");
    button?.setAttribute("aria-disabled", "true");
  };
  sent.set(form, { button, timers: [setTimeout(show, SHOWN_MS), setTimeout(() => release(form), GIVEN_UP_MS)] });
});
// The page comes back as it was left.
addEventListener("pageshow", () => [...sent.keys()].forEach(release));

// A form that asks for it hears the browser's time zone.
for (const each of document.querySelectorAll("input[data-zone]")) each.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
