"use strict";

const EVERY_MS = 1000;
const HISTORY = 120;
/// Percentiles are over so many samples.
const WINDOW = 10;

const EXAMPLES = {
  "question-answering": { inputs: { question: "Who wrote it?", context: "Ada wrote it in the spring." } },
};
const EXAMPLE = { inputs: ["The river rose overnight.", "A short text."] };

const at = (id) => document.getElementById(id);
/// Kept nowhere else: a page that is loaded anew asks again.
let apiKey = "";
const samples = [];
const history = [];

/// An element with text, or with other elements in it; text is never read as markup.
function make(name, content, className) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (Array.isArray(content)) element.append(...content);
  else if (content !== undefined) element.textContent = content;
  return element;
}

const head = (text) => {
  const cell = make("th", text);
  cell.scope = "row";
  return cell;
};
const number = (text) => make("td", text, "n");
const fixed = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : "–");
const rate = (value) => fixed(value, value >= 100 ? 0 : 1);
const percent = (value) => (Number.isFinite(value) ? `${Math.round(value * 100)} %` : "–");

function time(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  return seconds < 1 ? `${fixed(seconds * 1000, seconds < 0.01 ? 2 : 0)} ms` : `${fixed(seconds, 2)} s`;
}

function span(seconds) {
  const units = [[86400, "d"], [3600, "h"], [60, "min"]];
  for (const [length, unit] of units) if (seconds >= length) return `${Math.floor(seconds / length)} ${unit}`;
  return `${Math.floor(seconds)} s`;
}

/// The histograms of `/metrics` by family and model: pairs of a bound and the count up to it.
function histograms(text) {
  const found = {};
  const line = /^(neuronc_(?:request|queue)_duration)_seconds_bucket\{le="([^"]+)",model="([^"]+)"\} (\S+)$|^(neuronc_(?:request|queue)_duration)_seconds_bucket\{model="([^"]+)",le="([^"]+)"\} (\S+)$/gm;
  for (const m of text.matchAll(line)) {
    const [family, bound, model, count] = m[1] ? [m[1], m[2], m[3], m[4]] : [m[5], m[7], m[6], m[8]];
    const upper = bound === "+Inf" ? Infinity : Number(bound);
    ((found[family] ??= {})[model] ??= []).push([upper, Number(count)]);
  }
  return found;
}

/// A percentile of what came between two histograms, on a straight line within its bounds.
function percentile(share, now, before) {
  if (!now) return NaN;
  const counts = now.map(([bound, count], i) => [bound, count - (before?.[i]?.[1] ?? 0)]);
  const all = counts[counts.length - 1][1];
  if (all <= 0) return NaN;
  const rank = share * all;
  let [lower, below] = [0, 0];
  for (const [bound, count] of counts) {
    if (count >= rank) {
      if (bound === Infinity) return lower;
      return lower + (bound - lower) * ((rank - below) / Math.max(count - below, 1e-9));
    }
    [lower, below] = [bound, count];
  }
  return lower;
}

const NOTHING = { batches: 0, rows: 0, padding_rows: 0, tokens: 0, padding_tokens: 0, busy_seconds: 0 };

/// What was done between two counts.
function difference(now, before = NOTHING) {
  const work = {};
  for (const key of Object.keys(NOTHING)) work[key] = Math.max(0, now[key] - before[key]);
  return work;
}

function sum(works) {
  const all = { ...NOTHING };
  for (const work of works) for (const key of Object.keys(NOTHING)) all[key] += work[key];
  return all;
}

const fill = (work) => work.rows / (work.rows + work.padding_rows);

/// What each core and each bucket did between two states of the server.
function changes(now, before) {
  const cores = new Map();
  const buckets = new Map();
  for (const core of now.cores) {
    const old = before?.cores.find((known) => known.core === core.core);
    const busy = Math.max(0, core.busy_seconds - (old ?? core).busy_seconds);
    cores.set(core.core, { ...difference(core.total, (old ?? core).total), busy });
    for (const bucket of core.buckets) {
      const same = (known) => known.model === bucket.model && known.bucket === bucket.bucket;
      const done = difference(bucket, before ? old?.buckets.find(same) : bucket);
      const key = JSON.stringify([bucket.model, bucket.bucket]);
      const entry = buckets.get(key) ?? { model: bucket.model, bucket: bucket.bucket, total: 0, works: [] };
      entry.total += bucket.rows;
      entry.works.push(done);
      buckets.set(key, entry);
    }
  }
  return { cores, buckets: [...buckets.values()].map((b) => ({ ...b, work: sum(b.works) })) };
}

function tiles(entries) {
  at("now").replaceChildren(...entries.map(([name, value]) => make("div", [make("dt", name), make("dd", value)])));
}

const TONES = { ready: "good", loaded: "good", down: "bad", broken: "bad", failed: "bad", starting: "warn", loading: "warn" };

function bar(share) {
  const inner = make("span");
  inner.style.width = `${Math.min(100, Math.round(share * 100))}%`;
  const outer = make("span", [inner], "bar");
  outer.setAttribute("aria-hidden", "true");
  return outer;
}

function showCores(status, done, seconds) {
  const rows = status.cores.map((core) => {
    const work = done.cores.get(core.core);
    const busy = work.busy / seconds;
    const models = core.models.map((model) => (model.state === "loaded" ? model.name : `${model.name} (${model.state})`));
    const last = core.incidents[core.incidents.length - 1];
    const loss = core.cause ?? (last ? `${new Date(last.at * 1000).toLocaleTimeString()} ${last.cause}` : "");
    return make("tr", [
      head(core.core), make("td", core.state, TONES[core.state]), make("td", [bar(busy), percent(busy)]),
      number(rate(work.rows / seconds)), number(percent(fill(work))), make("td", models.join(", ")),
      number(core.restarts), make("td", loss, "wide"),
    ]);
  });
  at("cores").replaceChildren(...rows);
}

function showModels(status, done, seconds) {
  const latest = samples[samples.length - 1].histograms;
  const oldest = samples[Math.max(0, samples.length - 1 - WINDOW)].histograms;
  const of = (family, model, share) => percentile(share, latest[family]?.[model], oldest[family]?.[model]);
  const rows = status.models.map((model) => {
    const work = sum(done.buckets.filter((b) => b.model === model.name).map((b) => b.work));
    const state = model.ready ? "ready" : "not ready";
    return make("tr", [
      head(model.name), make("td", state, model.ready ? "good" : "bad"), make("td", model.task),
      make("td", model.cores.join(", ")), number(rate(work.rows / seconds)), number(model.queue_rows),
      number(time(of("neuronc_request_duration", model.name, 0.5))),
      number(time(of("neuronc_request_duration", model.name, 0.99))),
      number(time(of("neuronc_queue_duration", model.name, 0.99))),
    ]);
  });
  at("models").replaceChildren(...rows);
}

function showBuckets(done, seconds) {
  const rows = done.buckets.map(({ model, bucket, total, work }) => make("tr", [
    head(model), make("td", bucket), number(rate(work.rows / seconds)), number(rate(work.batches / seconds)),
    number(percent(fill(work))), number(percent(work.padding_tokens / (work.tokens + work.padding_tokens))),
    number(time(work.busy_seconds / work.batches)), number(total),
  ]));
  at("buckets").replaceChildren(...rows);
}

function showHistory() {
  const peak = Math.max(1, ...history);
  const x = (i) => 600 - (history.length - 1 - i) * (600 / (HISTORY - 1));
  const points = history.map((value, i) => `${x(i).toFixed(1)},${(78 - (value / peak) * 74).toFixed(1)}`);
  at("line").setAttribute("points", points.join(" "));
  at("area").setAttribute("points", `${x(0).toFixed(1)},80 ${points.join(" ")} 600,80`);
  at("peak").textContent = `(highest: ${rate(peak)})`;
}

function showServer(status) {
  const runtime = status.runtime === "simulated" ? "simulated: nothing is computed" : `chip ${status.chip}`;
  const state = status.stopping ? "stopping" : status.ready ? "ready" : "not ready";
  at("server").textContent = `${state} · ${runtime} · ${status.machine} · up ${span(status.uptime_seconds)} · version ${status.version}`;
}

function showChoice(models) {
  const select = at("model");
  const names = models.map((model) => model.name);
  if ([...select.options].map((option) => option.value).join("\n") === names.join("\n")) return;
  const chosen = select.value;
  select.replaceChildren(...names.map((name) => make("option", name)));
  if (names.includes(chosen)) select.value = chosen;
  else example(models);
}

/// Shows a request that the chosen model answers.
async function example(models) {
  const model = models.find((known) => known.name === at("model").value);
  at("inputs").value = JSON.stringify(EXAMPLES[model?.task] ?? EXAMPLE);
  if (model?.task !== "fill-mask") return;
  const { parameters } = await ask(`/v2/models/${encodeURIComponent(model.name)}`, "json").catch(() => ({}));
  const mask = parameters?.mask_token;
  // Another model may have been chosen meanwhile.
  if (mask && at("model").value === model.name) at("inputs").value = JSON.stringify({ inputs: `The river is ${mask}.` });
}

function show() {
  const sample = samples[samples.length - 1];
  const status = sample.status;
  const last = samples[samples.length - 2];
  // By the server's own clock, which nobody sets; one that goes back is that of another process.
  const passed = last ? status.uptime_seconds - last.status.uptime_seconds : -1;
  const before = passed >= 0 && last.status.pid === status.pid ? last : undefined;
  const seconds = before ? Math.max(1e-3, passed) : 1;
  const done = changes(status, before?.status);
  const all = sum([...done.cores.values()]);
  const busy = [...done.cores.values()].reduce((seconds, work) => seconds + work.busy, 0);
  const working = status.cores.filter((core) => core.state === "ready").length;
  const waiting = status.models.reduce((rows, model) => rows + model.queue_rows, 0);
  showServer(status);
  tiles([
    ["rows a second", rate(all.rows / seconds)],
    ["cores busy", percent(busy / seconds / working)],
    ["cores ready", `${working} of ${status.cores.length}`],
    ["rows waiting", String(waiting)],
    ["fill of batches", percent(fill(all))],
    ["padding tokens", percent(all.padding_tokens / (all.tokens + all.padding_tokens))],
  ]);
  if (before) history.push(all.rows / seconds);
  if (history.length > HISTORY) history.shift();
  showHistory();
  showCores(status, done, seconds);
  showModels(status, done, seconds);
  showBuckets(done, seconds);
  showChoice(status.models);
}

/// The headers of a request, with the key where one is needed.
const signed = (headers = {}) => (apiKey ? { ...headers, "x-api-key": apiKey } : headers);

class NoAccess extends Error {}

async function ask(path, form) {
  const response = await fetch(path, { cache: "no-store", headers: signed() });
  if (response.status === 401 || response.status === 403) {
    throw new NoAccess(apiKey ? "this key is not one of an admin" : "this server asks for a key");
  }
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return form === "json" ? response.json() : response.text();
}

let next;

async function refresh() {
  const notice = at("notice");
  try {
    const [status, metrics] = await Promise.all([ask("/admin/status", "json"), ask("/metrics", "text")]);
    samples.push({ status, histograms: histograms(metrics) });
    if (samples.length > WINDOW + 1) samples.shift();
    show();
    notice.hidden = true;
    at("access").hidden = true;
  } catch (error) {
    const isClosed = error instanceof NoAccess;
    notice.textContent = isClosed ? error.message : `The server does not answer: ${error.message}. What is below is from before.`;
    notice.hidden = false;
    at("access").hidden = !isClosed;
  }
  clearTimeout(next);
  next = setTimeout(refresh, document.hidden ? 5 * EVERY_MS : EVERY_MS);
}

async function send(event) {
  event.preventDefault();
  const button = event.submitter ?? at("try").querySelector("button");
  const [outcome, answer] = [at("outcome"), at("answer")];
  button.disabled = true;
  outcome.textContent = "waiting for the answer";
  const begun = performance.now();
  try {
    const path = `/predict/${encodeURIComponent(at("model").value)}`;
    const headers = signed({ "content-type": "application/json" });
    const response = await fetch(path, { method: "POST", headers, body: at("inputs").value });
    const text = await response.text();
    const took = (performance.now() - begun) / 1000;
    const where = [["model", "x-neuronc-model"], ["bucket", "x-neuronc-buckets"], ["core", "x-neuronc-cores"], ["runtime", "x-neuronc-runtime"]]
      .filter(([, header]) => response.headers.get(header))
      .map(([word, header]) => `${word} ${response.headers.get(header)}`);
    outcome.textContent = [`status ${response.status}`, time(took), ...where].join(" · ");
    answer.textContent = text;
    answer.hidden = false;
  } catch (error) {
    outcome.textContent = `no answer: ${error.message}`;
    answer.hidden = true;
  }
  button.disabled = false;
}

at("try").addEventListener("submit", send);
at("access").addEventListener("submit", (event) => {
  event.preventDefault();
  apiKey = at("key").value;
  at("key").value = "";
  refresh();
});
at("model").addEventListener("change", () => example(samples[samples.length - 1]?.status.models ?? []));
refresh();
