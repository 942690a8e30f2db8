// The sandbox mailbox: what was captured, shown as the customer sees it, with a way to answer. No library.
"use strict";

const byId = (id) => document.getElementById(id);
const access = { key: byId("key"), tenant: byId("tenant") };
for (const [name, field] of Object.entries(access)) field.value = sessionStorage.getItem("tidings-" + name) || "";

let cursor = null;

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value);
  for (const child of children.flat()) if (child !== null && child !== undefined) node.append(child);
  return node;
}

async function call(path, body) {
  const headers = { Authorization: "Bearer " + access.key.value.trim() };
  if (access.tenant.value.trim()) headers["Tidings-Tenant"] = access.tenant.value.trim();
  if (body) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { method: body ? "POST" : "GET", headers, body: body ? JSON.stringify(body) : undefined });
  const json = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(json.title ? json.title + ": " + json.detail : "the server answered " + answer.status);
  return json;
}

const trouble = (error) => { byId("trouble").textContent = error ? error.message : ""; };
const when = (text) => new Date(text).toLocaleString();

async function load(fresh) {
  try {
    if (fresh) { cursor = null; byId("list").replaceChildren(); }
    const page = await call("/v1/sandbox/messages?limit=50" + (cursor ? "&cursor=" + encodeURIComponent(cursor) : ""));
    cursor = page.next_cursor || null;
    byId("more").classList.toggle("hidden", !cursor);
    byId("list").append(...page.items.map(entry));
    if (fresh && !page.items.length) byId("list").append(el("li", { class: "soft" }, "Nothing was captured yet."));
    trouble(null);
  } catch (error) { trouble(error); }
}

function entry(item) {
  const button = el("button", { type: "button" }, el("span", { class: "who" }, item.to), el("span", { class: "what" }, item.subject || item.text || ""),
    el("span", { class: "small soft" }, item.channel + ", " + when(item.captured_at) + (item.duplicate ? ", duplicate" : "")));
  button.addEventListener("click", async () => {
    for (const other of document.querySelectorAll("#list button")) other.removeAttribute("aria-current");
    button.setAttribute("aria-current", "true");
    try { read(await call("/v1/sandbox/messages/" + item.id)); trouble(null); } catch (error) { trouble(error); }
  });
  return el("li", {}, button);
}

function read(item) {
  const parts = [el("h2", {}, item.subject || item.channel), el("p", { class: "soft small" }, "To " + item.to + ", " + when(item.captured_at) + ", message " + item.message_id)];
  if (item.html) parts.push(...mail(item)); else parts.push(el("div", { class: "bubble" }, item.text || ""));
  for (const file of item.attachments || []) parts.push(el("p", { class: "small" }, "Attachment: " + file.filename + " (" + file.content_type + ")"));
  parts.push(replyForm(item));
  byId("reader").replaceChildren(el("article", { class: "card" }, parts));
}

/** The mail in a frame without scripts and without an origin; links open in a tab of their own. */
function mail(item) {
  const frame = el("iframe", { sandbox: "allow-popups allow-popups-to-escape-sandbox", referrerpolicy: "no-referrer", title: "The mail as the customer sees it" });
  frame.srcdoc = '<base target="_blank">' + item.html;
  const holder = el("div", {}, frame);
  const width = el("button", { type: "button", class: "plain", "aria-pressed": "false" }, "Phone width");
  width.addEventListener("click", () => width.setAttribute("aria-pressed", String(holder.classList.toggle("width-phone"))));
  return [width, holder, el("details", { class: "schema" }, el("summary", {}, "Text part"), el("pre", {}, item.text || ""))];
}

function replyForm(item) {
  const text = el("textarea", { "aria-label": "Answer as the customer", placeholder: "Answer as the customer, for example STOP", required: "true", maxlength: "4000" });
  const said = el("p", { class: "small", role: "status" });
  const form = el("form", {}, el("h3", {}, "Answer as the customer"), text, el("p", {}, el("button", { type: "submit" }, "Send the answer")), said);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await call("/v1/sandbox/messages/" + item.id + "/reply", { text: text.value });
      text.value = "";
      said.textContent = "Taken in as an inbound message.";
    } catch (error) { said.textContent = error.message; }
  });
  return form;
}

byId("access").addEventListener("submit", (event) => {
  event.preventDefault();
  for (const [name, field] of Object.entries(access)) sessionStorage.setItem("tidings-" + name, field.value.trim());
  load(true);
});
byId("more").addEventListener("click", () => load(false));
if (access.key.value) load(true);
