// Shows /openapi.json: operations, schemas, examples, and a form to try each. No library, nothing from elsewhere.
"use strict";

const keyField = document.getElementById("key");
keyField.value = sessionStorage.getItem("tidings-key") || "";
keyField.addEventListener("change", () => sessionStorage.setItem("tidings-key", keyField.value.trim()));

let api;

/** Makes an element: el("p", {class: "soft"}, "text", child). Text is always text, never markup. */
function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "on") for (const [event, run] of Object.entries(value)) node.addEventListener(event, run);
    else if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined && child !== "") node.append(child);
  return node;
}

/** Paragraphs with `code` marked. */
function prose(text, className) {
  return String(text || "").split(/\n{2,}/).filter(Boolean).map((paragraph) =>
    el("p", { class: className }, paragraph.split(/(`[^`]+`)/).map((part) =>
      part.startsWith("`") && part.length > 2 ? el("code", {}, part.slice(1, -1)) : part)));
}

function resolve(schema) {
  let seen = 0;
  while (schema && schema.$ref && seen++ < 10) schema = api.components.schemas[schema.$ref.split("/").pop()];
  return schema || {};
}

const refName = (schema) => (schema && schema.$ref ? schema.$ref.split("/").pop() : null);

/** "string (date-time)", "array of Contact", "Channel or null". */
function typeName(schema) {
  if (!schema) return "any";
  if (schema.$ref) return refName(schema);
  for (const key of ["oneOf", "anyOf"]) if (schema[key]) return schema[key].map(typeName).join(" or ");
  if (schema.allOf) return schema.allOf.map(typeName).join(" and ");
  const types = [].concat(schema.type || "any");
  return types.map((type) => type === "array" ? "array of " + typeName(schema.items)
    : schema.format && type !== "null" ? type + " (" + schema.format + ")" : type).join(" or ");
}

function limits(schema) {
  const words = { minLength: "at least %s characters", maxLength: "at most %s characters", minimum: "from %s", maximum: "to %s",
    minItems: "at least %s items", maxItems: "at most %s items", pattern: "pattern %s", default: "default %s" };
  return Object.entries(words).filter(([key]) => schema[key] !== undefined)
    .map(([key, text]) => text.replace("%s", typeof schema[key] === "object" ? JSON.stringify(schema[key]) : schema[key])).join(", ");
}

function typeCell(schema) {
  const name = refName(schema) || refName(schema && schema.items) || (schema && (schema.oneOf || []).map(refName).find(Boolean));
  const text = typeName(schema);
  const inner = resolve(schema);
  const shown = name ? el("a", { href: "#schema-" + name }, text) : text;
  return el("td", {}, shown, inner.enum ? el("div", { class: "small soft" }, inner.enum.join(", ")) : null,
    limits(schema || {}) ? el("div", { class: "small soft" }, limits(schema)) : null);
}

function fieldTable(rows) {
  if (!rows.length) return null;
  return el("div", { class: "table" }, el("table", {}, el("thead", {}, el("tr", {}, el("th", {}, "Name"), el("th", {}, "Type"), el("th", {}, "Meaning"))),
    el("tbody", {}, rows.map((row) => el("tr", {}, el("td", {}, el("code", {}, row.name), row.place ? el("div", { class: "small soft" }, row.place) : null,
      row.required ? el("div", { class: "required" }, "required") : null), typeCell(row.schema), el("td", {}, prose(row.about)))))));
}

/** A property's own description, else that of what it refers to. */
function meaning(property) {
  const choices = [property, ...(property.oneOf || property.anyOf || [])];
  return (choices.find((one) => one.description) || choices.map(resolve).find((one) => one.description) || {}).description;
}

function schemaRows(schema) {
  const object = resolve(schema);
  const parts = object.allOf ? object.allOf.map(resolve) : [object];
  return parts.flatMap((part) => Object.entries(part.properties || {}).map(([name, property]) =>
    ({ name, schema: property, required: (part.required || []).includes(name), about: meaning(property) })));
}

/** An example value: the schema's own, else one made of its parts. */
function example(schema, depth = 0) {
  const object = resolve(schema);
  if (schema && schema.example !== undefined) return schema.example;
  if (object.example !== undefined) return object.example;
  if (object.examples && object.examples.length) return object.examples[0];
  if (object.default !== undefined) return object.default;
  if (object.enum) return object.enum[0];
  const choice = object.oneOf || object.anyOf;
  if (choice) return example(choice.find((one) => one.type !== "null") || choice[0], depth + 1);
  const type = [].concat(object.type || (object.properties ? "object" : "string"))[0];
  if (depth > 6) return null;
  if (type === "array") return [example(object.items, depth + 1)];
  if (type === "object") return Object.fromEntries(Object.entries(object.properties || {}).map(([name, property]) => [name, example(property, depth + 1)]));
  if (type === "integer" || type === "number") return object.minimum || 0;
  if (type === "boolean") return false;
  return { "date-time": "2026-03-01T09:00:00Z", uuid: "01890a5d-ac96-774b-bcce-b302099a8057", uri: "https://example.com/" }[object.format] || "text";
}

const bodyOf = (content) => content && (content["application/json"] || content["application/problem+json"] || Object.values(content)[0]);
const pretty = (value) => JSON.stringify(value, null, 2);

function operationCard(path, method, operation) {
  const id = operation.operationId || method + path;
  const scopes = (operation.security || []).flatMap((one) => Object.values(one)).flat();
  const body = operation.requestBody && bodyOf(operation.requestBody.content);
  const media = operation.requestBody && Object.keys(operation.requestBody.content)[0];
  const sample = body && (body.example !== undefined ? body.example : body.examples ? Object.values(body.examples)[0].value : example(body.schema));
  const content = [
    prose(operation.description),
    operation.parameters && operation.parameters.length ? [el("h3", {}, "Parameters"), fieldTable(operation.parameters.map((one) =>
      ({ name: one.name, place: one.in, schema: one.schema, required: one.required, about: one.description })))] : null,
    body ? [el("h3", {}, "Body"), fieldTable(schemaRows(body.schema)), el("pre", {}, el("code", {}, pretty(sample)))] : null,
    el("h3", {}, "Answers"), responses(operation.responses), tryForm(path, method, operation, sample, media),
  ];
  const card = el("details", { class: "card operation", id: "op-" + id }, el("summary", {}, el("span", { class: "method " + method }, method.toUpperCase()),
    el("span", { class: "path" }, path), el("span", {}, operation.summary || ""), scopes.map((scope) => el("span", { class: "scope" }, scope))));
  card.addEventListener("toggle", () => { if (card.open && card.children.length === 1) card.append(...content.flat(3).filter(Boolean)); });
  return card;
}

function responses(all) {
  return el("div", {}, Object.entries(all || {}).map(([status, response]) => {
    const body = bodyOf(response.content);
    const shown = body && body.schema && (body.example || example(body.schema));
    return el("details", { class: "schema" }, el("summary", {}, status + " ", el("span", { class: "soft" }, response.description || "")),
      body && body.schema ? [el("p", { class: "small soft" }, typeName(body.schema)), fieldTable(schemaRows(body.schema)), el("pre", {}, el("code", {}, pretty(shown)))] : el("p", { class: "small soft" }, "No body."));
  }));
}

function tryForm(path, method, operation, sample, media) {
  const inputs = (operation.parameters || []).map((one) => ({ one, input: el("input", { placeholder: one.schema ? typeName(one.schema) : "", autocomplete: "off" }) }));
  const text = operation.requestBody ? el("textarea", { class: "code", rows: 12, spellcheck: "false", "aria-label": "Body" }) : null;
  if (text) text.value = media === "application/json" ? pretty(sample) : "";
  const output = el("div", { "aria-live": "polite" });
  const send = async () => {
    let url = path;
    const query = new URLSearchParams();
    const headers = {};
    for (const { one, input } of inputs) {
      const value = input.value.trim();
      if (one.in === "path") url = url.replace("{" + one.name + "}", encodeURIComponent(value));
      else if (value && one.in === "query") query.set(one.name, value);
      else if (value && one.in === "header") headers[one.name] = value;
    }
    if (query.size) url += "?" + query;
    if (keyField.value.trim()) headers.Authorization = "Bearer " + keyField.value.trim();
    if (text) headers["Content-Type"] = media || "application/json";
    output.replaceChildren(el("p", { class: "soft" }, "Waiting ..."));
    try {
      const started = performance.now();
      const answer = await fetch(url, { method: method.toUpperCase(), headers, body: text ? text.value : undefined });
      let shown = await answer.text();
      try { shown = pretty(JSON.parse(shown)); } catch { /* not JSON: shown as it is */ }
      output.replaceChildren(el("p", {}, el("strong", { class: answer.ok ? "good" : "bad" }, answer.status + " " + answer.statusText),
        el("span", { class: "soft" }, " in " + Math.round(performance.now() - started) + " ms")), el("pre", {}, el("code", {}, shown || "(no body)")), curl(url, method, headers, text));
    } catch (error) {
      output.replaceChildren(el("p", { class: "bad" }, "No answer: " + error.message));
    }
  };
  return el("details", { class: "try" }, el("summary", {}, "Try it"), el("form", { on: { submit: (event) => { event.preventDefault(); send(); } } },
    inputs.map(({ one, input }) => el("label", { class: "field" }, el("span", {}, one.name + " (" + one.in + (one.required ? ", required)" : ")")), input)),
    text ? el("label", { class: "field" }, el("span", {}, "Body"), text) : null, el("button", { type: "submit" }, "Send")), output);
}

function curl(url, method, headers, text) {
  const quote = (word) => "'" + word.replace(/'/g, "'\\''") + "'";
  const parts = ["curl -X " + method.toUpperCase() + " " + quote(location.origin + url)];
  for (const [name, value] of Object.entries(headers)) parts.push("-H " + (name === "Authorization" ? '"Authorization: Bearer $TIDINGS_KEY"' : quote(name + ": " + value)));
  if (text) parts.push("-d " + quote(text.value));
  return el("details", { class: "schema" }, el("summary", {}, "As a command"), el("pre", {}, el("code", {}, parts.join(" \\\n  "))));
}

function openTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  if (target.tagName === "DETAILS") target.open = true;
  target.scrollIntoView();
}

function show() {
  const groups = new Map((api.tags || []).map((tag) => [tag.name, { tag, items: [] }]));
  for (const [path, item] of Object.entries(api.paths)) for (const [method, operation] of Object.entries(item)) {
    if (!operation.responses) continue;
    const name = (operation.tags || ["other"])[0];
    if (!groups.has(name)) groups.set(name, { tag: { name }, items: [] });
    groups.get(name).items.push({ path, method, operation });
  }
  const main = [el("h1", {}, api.info.title, " ", el("span", { class: "soft small" }, api.info.version)), ...prose(api.info.description)];
  const side = [];
  for (const { tag, items } of groups.values()) {
    if (!items.length) continue;
    main.push(el("h2", { id: "tag-" + tag.name }, tag.name), ...prose(tag.description, "soft"), ...items.map((one) => operationCard(one.path, one.method, one.operation)));
    side.push(el("div", { class: "tag" }, tag.name), el("ul", {}, items.map((one) => el("li", { "data-text": (one.method + " " + one.path + " " + (one.operation.summary || "")).toLowerCase() },
      el("a", { href: "#op-" + (one.operation.operationId || one.method + one.path) }, one.operation.summary || one.method + " " + one.path)))));
  }
  main.push(el("h2", { id: "schemas" }, "Schemas"), ...Object.entries((api.components || {}).schemas || {}).map(([name, schema]) =>
    el("details", { class: "card schema", id: "schema-" + name }, el("summary", {}, name), prose(schema.description), schema.enum ? el("p", {}, schema.enum.map((word) => [el("code", {}, word), " "])) : null,
      schema.oneOf ? el("p", { class: "small soft" }, "One of: " + typeName(schema)) : null, fieldTable(schemaRows(schema)))));
  document.getElementById("main").replaceChildren(...main);
  document.getElementById("tags").replaceChildren(...side);
}

document.getElementById("search").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/);
  document.getElementById("side").classList.toggle("open", event.target.value !== "");
  for (const item of document.querySelectorAll("#tags li")) item.classList.toggle("hidden", !words.every((word) => item.dataset.text.includes(word)));
});
document.getElementById("menu").addEventListener("click", (event) => {
  event.target.setAttribute("aria-expanded", String(document.getElementById("side").classList.toggle("open")));
});
document.getElementById("tags").addEventListener("click", () => document.getElementById("side").classList.remove("open"));
window.addEventListener("hashchange", openTarget);

fetch("/openapi.json").then((answer) => answer.json()).then((document_) => { api = document_; show(); openTarget(); }).catch((error) =>
  document.getElementById("main").replaceChildren(el("p", { class: "bad" }, "The description could not be read: " + error.message)));
