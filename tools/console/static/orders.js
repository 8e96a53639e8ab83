// What the screens of orders do beside console.js: choosing many, named views, which this browser keeps, and files.
"use strict";

const VIEWS = "orders-console-views";

function countChosen() {
  const shown = document.getElementById("chosen-count");
  if (!shown) return;
  const boxes = [...document.querySelectorAll("#chosen td.choose input")];
  const count = boxes.filter((box) => box.checked).length;
  const text = `${count} chosen`;
  if (shown.textContent !== text) shown.textContent = text;
  const all = document.getElementById("choose-all");
  all.checked = count > 0 && count === boxes.length;
  all.indeterminate = count > 0 && count < boxes.length;
}

document.addEventListener("change", ({target}) => {
  if (target.id === "choose-all") {
    for (const box of document.querySelectorAll("#chosen td.choose input")) box.checked = target.checked;
  }
  if (target.closest("#chosen, #choose-all")) countChosen();
});

// An empty field would only make the address longer.
document.addEventListener("formdata", ({target, formData}) => {
  // Not `target.id`: that is the field with this name.
  if (target.getAttribute("id") !== "filter") return;
  for (const [name, value] of [...formData]) if (!value) formData.delete(name);
});

function savedViews() {
  try {
    const found = JSON.parse(localStorage.getItem(VIEWS));
    return Array.isArray(found) ? found.filter((each) => typeof each.name === "string" && /^\/orders(\?|$)/.test(each.address)) : [];
  } catch { return []; }
}

function keepViews(views) {
  localStorage.setItem(VIEWS, JSON.stringify(views));
  showViews();
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function showViews() {
  const place = document.getElementById("views");
  if (!place) return;
  const views = savedViews();
  const shown = views.map(({name, address}) => {
    const parameters = new URLSearchParams(address.split("?")[1]);
    parameters.set("view", name);
    const remove = element("button", {type: "button", className: "quiet", textContent: "×", ariaLabel: `Remove the view ${name}`});
    remove.addEventListener("click", () => keepViews(savedViews().filter((each) => each.name !== name)));
    return element("span", {className: "view"}, element("a", {href: `/orders?${parameters}`, textContent: name}), remove);
  });
  const name = element("input", {type: "text", name: "name", required: true, maxLength: 60, placeholder: "Name of this view", ariaLabel: "Name of this view", autocomplete: "off", value: place.dataset.view});
  const form = element("form", {}, name, element("button", {type: "submit", className: "quiet", textContent: "Save view"}));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const given = name.value.trim();
    if (given) keepViews([...savedViews().filter((each) => each.name !== given), {name: given, address: place.dataset.address}]);
  });
  const link = element("button", {type: "button", className: "quiet", textContent: "Copy link"});
  link.dataset.copy = location.href;
  place.replaceChildren(...(shown.length ? [element("span", {className: "quiet-text", textContent: "Views:"}), ...shown] : []), form, link);
}

// A file becomes the text of the form, so that it is seen, and can be changed, before it is checked.
async function read(file) {
  const form = document.getElementById("orders-text");
  const problem = document.getElementById("file-problem");
  const say = (text) => { problem.textContent = text; problem.hidden = !text; };
  if (file.size > form.dataset.most) return say(`${file.name} is too large for this page: use orders send.`);
  try {
    // Not file.text(): that would change each byte that is not UTF-8, and so an order.
    form.elements.text.value = new TextDecoder("utf-8", {fatal: true}).decode(await file.arrayBuffer());
  } catch { return say(`${file.name} is not UTF-8.`); }
  say("");
  const end = file.name.toLowerCase().split(".").pop();
  form.elements.format.value = {json: "json", jsonl: "jsonl", ndjson: "jsonl", csv: "csv"}[end] ?? "";
  document.getElementById("checked").replaceChildren();
  form.elements.text.focus();
}

const drop = document.getElementById("orders-text");
if (drop) {
  document.getElementById("file").addEventListener("change", ({target}) => { if (target.files[0]) read(target.files[0]); });
  for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("dropping"); });
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("dropping"));
  drop.addEventListener("drop", (event) => {
    const [file] = event.dataTransfer.files;
    if (!file) return;
    event.preventDefault();
    read(file);
  });
  // What was checked is no longer what would be sent.
  drop.addEventListener("input", () => document.getElementById("checked").replaceChildren());
}

// A slow page comes without its list, which the stream brings.
function beginList() {
  const place = document.getElementById("views");
  if (place && !place.childElementCount) {
    showViews();
    // On a narrow screen the filter would hide the list below it.
    if (matchMedia("(max-width: 40rem)").matches) document.getElementById("filter-box").open = false;
  }
  countChosen();
}

document.addEventListener("htmx:after:swap", beginList);
beginList();
