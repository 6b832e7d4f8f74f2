"use strict";

const at = (id) => document.getElementById(id);
/// Kept nowhere else: a page that is loaded anew asks again.
let apiKey = "";

/// What the groups of routes are, in the order of the page.
const PROTOCOLS = {
  native: "Hugging Face inference API",
  openai: "OpenAI",
  tei: "Text Embeddings Inference",
  "tei of a model": "Text Embeddings Inference, of one model",
  kserve: "KServe and Triton",
  sagemaker: "SageMaker",
  fastapi: "The FastAPI server of AWS's post",
  management: "Management",
};

const TEXT = "The river rose overnight.";
const OTHER = "A short text.";
const QUESTION = { question: "Who wrote it?", context: "Ada wrote it in the spring." };

/// Bodies that a server answers, by the name of their schema: a schema cannot say which belong together.
const BODIES = {
  EmbedRequest: { inputs: [TEXT, OTHER] },
  EmbedAllRequest: { inputs: TEXT },
  SimilarityRequest: { inputs: { source_sentence: TEXT, sentences: [OTHER, "The water was high."] } },
  PredictRequest: { inputs: TEXT },
  RerankRequest: { query: "What did the river do?", texts: [TEXT, OTHER] },
  TokenizeRequest: { inputs: TEXT },
  DecodeRequest: { ids: [1, 2, 3] },
  EmbeddingsRequest: { model: undefined, input: [TEXT, OTHER] },
  IndexRequest: {},
  LoadRequest: {},
};

/// Values of parameters that have no list of them.
const VALUES = { alias: "an-alias", model: "a-model", core: 0, j: 0, seq_0: QUESTION.question, seq_1: QUESTION.context };

/// An element with text, or with other elements in it; text is never read as markup.
function make(name, content, className) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (Array.isArray(content)) element.append(...content);
  else if (content !== undefined) element.textContent = content;
  return element;
}

/// The document; schemas are in it by name.
let api;
/// What the first model takes: the names of its texts, and one that it can answer.
let model = { texts: ["text"], text: TEXT };

const nameOf = (schema) => schema?.$ref?.split("/").pop();
const resolved = (schema) => (schema?.$ref ? api.components.schemas[nameOf(schema)] : schema) ?? {};

/// The schemas of which a value may have any.
const choices = (schema) => schema.anyOf ?? schema.oneOf;

/// A schema in a few words.
function kind(schema, depth = 0) {
  const known = resolved(schema);
  if (known.enum) return known.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (known.const !== undefined) return JSON.stringify(known.const);
  const any = choices(known);
  if (any) return depth > 3 ? "…" : [...new Set(any.map((one) => kind(one, depth + 1)))].join(" or ");
  if (known.type === "array") return `list of (${kind(known.items ?? {}, depth + 1)})`.replace(/\((\w+)\)$/, "$1");
  if (Array.isArray(known.type)) return known.type.join(" or ");
  return known.type ?? "anything";
}

/// What an answer looks like, with kinds in place of values.
function sketch(schema, indent = "", seen = []) {
  const known = resolved(schema);
  const name = nameOf(schema);
  if (name && seen.includes(name)) return name;
  const inside = name ? [...seen, name] : seen;
  const deeper = `${indent}  `;
  const any = choices(known);
  if (any) return [...new Set(any.map((one) => sketch(one, indent, inside)))].join(" or ");
  if (known.type === "array") return `[${sketch(known.items ?? {}, indent, inside)}, …]`;
  const fields = Object.entries(known.properties ?? {});
  if (fields.length) {
    const lines = fields.map(([field, value]) => `${deeper}"${field}": ${sketch(value, deeper, inside)}`);
    return `{\n${lines.join(",\n")}\n${indent}}`;
  }
  if (known.additionalProperties && typeof known.additionalProperties === "object") {
    return `{ name: ${sketch(known.additionalProperties, indent, inside)}, … }`;
  }
  return kind(schema);
}

/// A value that a schema allows, of the fields that it must have.
function example(schema, field, depth = 0) {
  const known = resolved(schema);
  const body = BODIES[nameOf(schema)];
  if (body) return "model" in body ? { ...body, model: example(known.properties.model, "model") } : body;
  if (known.default !== undefined) return known.default;
  if (known.enum) return known.enum[0];
  const any = choices(known);
  if (any && depth < 8) return example(any.find((one) => one.type !== "null") ?? any[0], field, depth + 1);
  const type = [known.type].flat().find((one) => one !== "null");
  if (type === "array") return depth < 8 ? [example(known.items ?? {}, field, depth + 1)] : [];
  if (type === "object") {
    const fields = (known.required ?? []).map((name) => [name, example(known.properties?.[name] ?? {}, name, depth + 1)]);
    return Object.fromEntries(fields);
  }
  if (type === "integer" || type === "number") return known.minimum ?? 0;
  if (type === "boolean") return false;
  return { bundle: "/path/to/a-bundle", model: VALUES.model }[field] ?? TEXT;
}

function body(schema) {
  const asks = model.texts.includes("question");
  if (nameOf(schema) === "InferRequest") {
    const tensor = (name) => ({ name, shape: [1], datatype: "BYTES", data: [asks ? QUESTION[name] : model.text] });
    return { inputs: model.texts.map(tensor) };
  }
  // The inputs of the native protocol are those of the model's task.
  if (!schema.$ref && resolved(schema).properties?.inputs) return { inputs: asks ? QUESTION : model.text };
  return example(schema);
}

/// As the shell reads it back.
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

const valueOf = (parameter) => String(parameter.schema.enum?.[0] ?? VALUES[parameter.name] ?? 0);

function curl(method, path, operation) {
  const parameters = operation.parameters ?? [];
  let url = path.replace(/\{(\w+)\}/g, (whole, name) => {
    const parameter = parameters.find((known) => known.in === "path" && known.name === name);
    return parameter ? encodeURIComponent(valueOf(parameter)) : whole;
  });
  const queries = method === "get" ? parameters.filter((known) => known.in === "query") : [];
  if (queries.length) url += `?${queries.map((known) => `${known.name}=${encodeURIComponent(valueOf(known))}`).join("&")}`;
  const schema = operation.requestBody?.content["application/json"].schema;
  const words = ["curl"];
  if (method !== (schema ? "post" : "get")) words.push("-X", method.toUpperCase());
  if (apiKey) words.push("-H", '"x-api-key: $KEY"');
  if (schema) words.push("-d", quoted(JSON.stringify(body(schema))));
  words.push(/[?&]/.test(url) ? quoted(location.origin + url) : location.origin + url);
  return words.join(" ");
}

function table(columns, rows) {
  const head = columns.map((name) => {
    const cell = make("th", name);
    cell.scope = "col";
    return cell;
  });
  const lines = rows.map(([name, ...cells]) => {
    const first = make("th", [make("code", name)]);
    first.scope = "row";
    return make("tr", [first, ...cells.map((cell, i) => make("td", cell, i === cells.length - 1 ? "wide" : ""))]);
  });
  const whole = make("table", [make("thead", [make("tr", head)]), make("tbody", lines)]);
  return make("div", [whole], "scroll");
}

function part(title, content) {
  return [make("h3", title), content];
}

function block(text, label) {
  const element = make("pre", text);
  element.tabIndex = 0;
  element.setAttribute("aria-label", label);
  return element;
}

/// The fields of a body, or of what its choices have.
function fields(schema) {
  const known = resolved(schema);
  const must = known.required ?? [];
  return Object.entries(known.properties ?? {}).map(([name, value]) => [
    name, kind(value), must.includes(name) ? "needed" : "", value.description ?? resolved(value).description ?? "",
  ]);
}

function inside(method, path, operation) {
  const parts = [];
  const parameters = (operation.parameters ?? []).map((known) => [
    known.name, known.in, kind(known.schema), known.required ? "needed" : "", known.description ?? "",
  ]);
  if (parameters.length) parts.push(...part("Parameters", table(["name", "in", "what", "needed", "meaning"], parameters)));
  const schema = operation.requestBody?.content["application/json"].schema;
  if (schema) {
    const rows = fields(schema);
    if (rows.length) parts.push(...part("Body, as JSON", table(["field", "what", "needed", "meaning"], rows)));
  }
  parts.push(...part("Example", block(curl(method, path, operation), "Example")));
  const rows = Object.entries(operation.responses).map(([status, answer]) => [status, answer.description]);
  parts.push(...part("Answers", table(["status", "meaning"], rows)));
  for (const [type, { schema: answered }] of Object.entries(operation.responses["200"]?.content ?? {})) {
    const isJson = type === "application/json";
    const text = isJson ? sketch(answered) : "";
    if (isJson && text !== "anything" && text !== "object") parts.push(...part("200, as JSON", block(text, "The answer")));
    else if (!isJson) parts.push(make("p", `200 is also given as ${type}.`, "note"));
  }
  return make("div", parts, "inside");
}

function route(method, path, operation) {
  const head = make("summary", [
    make("span", method.toUpperCase(), "method"), make("code", path), make("span", operation.summary),
  ]);
  const element = make("details", [head]);
  element.id = `${method}-${path}`;
  element.dataset.words = `${method} ${path} ${operation.summary}`.toLowerCase();
  // Most are never looked into.
  element.addEventListener("toggle", () => {
    if (element.open && element.children.length === 1) element.append(inside(method, path, operation));
  });
  return element;
}

function show() {
  const groups = new Map(Object.keys(PROTOCOLS).map((tag) => [tag, []]));
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = operation.tags[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(route(method, path, operation));
    }
  }
  const shown = [...groups].filter(([, routes]) => routes.length);
  at("routes").replaceChildren(...shown.map(([tag, routes], i) => {
    const title = make("h2", PROTOCOLS[tag] ?? tag);
    title.id = `protocol-${i}`;
    const section = make("section", [title, ...routes]);
    section.setAttribute("aria-labelledby", title.id);
    return section;
  }));
  at("protocols").replaceChildren(...shown.map(([tag], i) => {
    const link = make("a", PROTOCOLS[tag] ?? tag);
    link.href = `#protocol-${i}`;
    return make("li", [link]);
  }));
  const count = shown.reduce((sum, [, routes]) => sum + routes.length, 0);
  const document_ = make("a", "/openapi.json");
  document_.href = "/openapi.json";
  at("server").replaceChildren(`neuronc ${api.info.version} at ${location.host}: ${count} routes, from `, document_);
  at("found").hidden = false;
  follow();
}

/// Opens the route that the address names.
function follow() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named?.tagName !== "DETAILS") return;
  named.open = true;
  named.scrollIntoView();
}

function filter() {
  const words = at("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const section of at("routes").children) {
    let found = 0;
    for (const element of section.querySelectorAll("details")) {
      element.hidden = !words.every((word) => element.dataset.words.includes(word));
      if (!element.hidden) found += 1;
    }
    section.hidden = found === 0;
  }
  at("none").hidden = [...at("routes").children].some((section) => !section.hidden);
}

async function ask(path) {
  return fetch(path, { cache: "no-store", headers: apiKey ? { "x-api-key": apiKey } : {} });
}

/// What examples of the first model need; without it they are of plain texts.
async function look() {
  const of = api.paths["/predict/{model}"]?.post.parameters.find((known) => known.name === "model");
  const name = of?.schema.enum?.[0];
  if (!name) return;
  const response = await ask(`/v2/models/${encodeURIComponent(name)}`);
  if (!response.ok) return;
  const { inputs, parameters } = await response.json();
  const names = inputs.map((tensor) => tensor.name);
  const mask = parameters?.mask_token;
  model = {
    texts: names.includes("question") ? ["question", "context"] : ["text"],
    text: mask ? `The river is ${mask}.` : TEXT,
  };
}

async function load() {
  const notice = at("notice");
  try {
    const response = await ask("/openapi.json");
    const isClosed = response.status === 401 || response.status === 403;
    at("access").hidden = !isClosed;
    notice.hidden = response.ok;
    if (isClosed) notice.textContent = apiKey ? "this key is not known" : "this server asks for a key";
    else if (!response.ok) notice.textContent = `/openapi.json answered ${response.status}`;
    if (!response.ok) return;
    api = await response.json();
    await look();
    show();
  } catch (error) {
    notice.textContent = `The server does not answer: ${error.message}`;
    notice.hidden = false;
  }
}

at("filter").addEventListener("input", filter);
at("search").addEventListener("submit", (event) => event.preventDefault());
at("access").addEventListener("submit", (event) => {
  event.preventDefault();
  apiKey = at("key").value;
  at("key").value = "";
  load();
});
addEventListener("hashchange", follow);
load();
