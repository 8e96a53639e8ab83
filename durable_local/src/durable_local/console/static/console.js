// What a page does beside htmx: times in the viewer's zone, dialogs, copying, and what it says of its connection.
"use strict";

const zone = new Intl.DateTimeFormat("sv-SE", {dateStyle: "short", timeStyle: "medium"});
const byId = (id) => document.getElementById(id);

// A field for a time is in the viewer's zone; the address has UTC.
function showTimes() {
  for (const field of document.querySelectorAll("input[data-utc]")) {
    if (field.dataset.utc && !field.value) field.value = zone.format(new Date(field.dataset.utc)).replace(" ", "T");
  }
  for (const time of document.querySelectorAll("time[datetime]")) {
    const text = zone.format(new Date(time.dateTime));
    if (time.textContent !== text) time.textContent = text;
  }
}

// The stream begins when somebody looks. htmx ends it when the tab is hidden and begins it again.
function look() {
  const live = byId("live");
  if (live && !document.hidden) htmx.trigger(live, "look");
}

function connection(id) {
  for (const each of ["lost", "restarted"]) byId(each).hidden = each !== id;
}

document.addEventListener("htmx:after:process", look, {once: true});
document.addEventListener("visibilitychange", look);
document.addEventListener("htmx:after:swap", showTimes);
document.addEventListener("htmx:sse:after:connection", () => connection(null));
document.addEventListener("htmx:sse:error", (event) => connection(event.detail.status === 401 ? "restarted" : "lost"));
document.addEventListener("htmx:response:error", (event) => {
  if (event.detail.ctx?.response?.status === 401) connection("restarted");
});
// After a first connection that failed, nothing else would try again.
document.addEventListener("htmx:error", () => { connection("lost"); setTimeout(look, 2000); });
document.addEventListener("console-instance", (event) => {
  if (event.detail.data !== document.body.dataset.instance) connection("restarted");
});

// A question opens before its text is there: Escape, pressed as soon as the text shows, closes it for good. Not when the
// page behind it was updated: that would take the focus from a field.
const isQuestion = ({detail}) => detail.ctx.target === byId("question-content");
document.addEventListener("htmx:before:swap", (event) => {
  if (isQuestion(event) && !byId("question").open) byId("question").showModal();
});
document.addEventListener("htmx:after:swap", (event) => {
  if (isQuestion(event)) byId("question").querySelector("[autofocus]")?.focus();
});
byId("question").addEventListener("close", () => byId("question-content").replaceChildren());

document.addEventListener("click", async ({target}) => {
  if (target.closest("[data-close]")) byId("question").close();
  const copy = target.closest("[data-copy]");
  if (!copy) return;
  await navigator.clipboard.writeText(copy.dataset.copy);
  byId("announced").textContent = "Copied";
  copy.textContent = "Copied";
  setTimeout(() => { copy.textContent = "Copy"; byId("announced").textContent = ""; }, 1500);
});

document.addEventListener("formdata", ({target, formData}) => {
  for (const field of target.querySelectorAll("input[data-utc]")) {
    if (field.value) formData.set(field.name, new Date(field.value).toISOString());
  }
});

showTimes();
