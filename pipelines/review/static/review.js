// The review page. Text of the corpus is only ever inserted as text: nothing here parses HTML.
const byId = (id) => document.getElementById(id);
const packed = byId("packed") ? JSON.parse(byId("packed").textContent) : null; // a page in one file
const WINDOW = 500; // how many row indexes a reply has
export const state = {
  run: null,
  rows: new Map(),
  total: 0,
  at: 0,
  trait: "",
  row: null,
  seen: new Map(),
  turn: 0,
  kept: [],
};

function showNumber(value) {
  return value === null ? "–" : value.toFixed(3);
}

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

export async function ask(path, query = {}, body = null) {
  if (packed) return askPacked(path, query, body);
  const address = `${path}?${new URLSearchParams(query)}`;
  const options =
    body === null
      ? {}
      : {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify(body),
        };
  let reply;
  try {
    reply = await fetch(body === null ? address : path, options);
  } catch {
    throw new Error("The review doesn't answer: is the command still running?");
  }
  if (reply.status === 401)
    throw new Error("This browser isn't let in: open the address that the command printed.");
  const answer =
    reply.headers.get("Content-Type") === "application/json"
      ? await reply.json()
      : { problem: reply.statusText };
  if (!reply.ok) throw new Error(answer.problem);
  return answer;
}

function askPacked(path, query, body) {
  const rows = packed.rows;
  if (path === "/api/run") return { ...packed.run, labels: state.kept.length };
  if (path === "/api/rows")
    return { total: rows.length, start: 0, rows: rows.map((row) => row.index) };
  const found = rows.find((row) => row.index === Number(query.index ?? body?.index));
  if (path === "/api/row") {
    const labels = state.kept.filter(
      (line) => line.source === found.source && line.row === found.row,
    );
    return { ...found, labels };
  }
  if (path === "/api/company") return found.company;
  if (path === "/api/end") return describePackedEnd(rows);
  if (path === "/api/label") {
    const label = { yes: true, no: false, unsure: "unsure" }[body.label];
    const names = { source: found.place[0], row: found.place[1], record_id: found.record_id };
    state.kept.push({
      ...names,
      trait: body.trait,
      label,
      time: new Date().toISOString(),
      picked: true,
      reason: body.reason,
    });
    return { labels: state.kept.length };
  }
  if (path === "/api/undo") {
    const line = state.kept.pop();
    if (!line) throw new Error("there is no label to take back");
    const row = rows.find((item) => item.place[0] === line.source && item.place[1] === line.row);
    return { index: row.index, trait: line.trait, labels: state.kept.length };
  }
  return { ready: true };
}

function describePackedEnd(rows) {
  const given = new Map(
    state.kept.map((line) => [JSON.stringify([line.source, line.row, line.trait]), line]),
  );
  const labels = { true: 0, false: 0, unsure: 0 };
  for (const line of given.values()) labels[nameLabel(line.label)] += 1;
  const command = "congener release RUN --reviews labels.jsonl --output RUN2";
  const steps = [{ purpose: "save your labels with the button below, and then take back what you labelled false", command }];
  return {
    labels,
    left: rows.filter((row) => !hasPackedLabel(row)).length,
    total: rows.length,
    file: "",
    steps: labels.false ? steps : [],
  };
}

function hasPackedLabel(row) {
  return state.kept.some((line) => line.source === row.place[0] && line.row === row.place[1]);
}

function complain(error) {
  byId("problem").textContent = error ? error.message : "";
  byId("problem").hidden = !error;
}

export const guarded =
  (work) =>
  async (...given) => {
    try {
      complain(null);
      return await work(...given);
    } catch (error) {
      complain(error);
      return null;
    }
  };

function readFilters() {
  const given = [...new FormData(byId("filters"))].map(([name, value]) => [name, value.trim()]);
  return Object.fromEntries(
    given.filter(
      ([name, value]) => value && !(state.run.blind && name !== "trait" && name !== "labelled"),
    ),
  );
}

// without a decision, a search, a score or an area lists all rows, and else those with a finding
function nameUnset() {
  const { decision, text, low, area } = byId("filters");
  const first = decision.options[0];
  const lists = text.value || low.value ? "any" : "a trait fired";
  if (first?.value === "") first.textContent = area.value ? "any in the area" : lists;
}

async function findRows(at = 0) {
  const turn = ++state.turn;
  nameUnset();
  const answer = await ask("/api/rows", {
    ...readFilters(),
    start: Math.floor(at / WINDOW) * WINDOW,
  });
  if (turn !== state.turn) return;
  if (answer.start === 0) state.rows.clear();
  answer.rows.forEach((index, number) => state.rows.set(answer.start + number, index));
  state.total = answer.total;
  await show(Math.min(at, Math.max(0, answer.total - 1)));
}

async function findIndex(at) {
  if (!state.rows.has(at)) {
    const answer = await ask("/api/rows", {
      ...readFilters(),
      start: Math.floor(at / WINDOW) * WINDOW,
    });
    answer.rows.forEach((index, number) => state.rows.set(answer.start + number, index));
  }
  return state.rows.get(at);
}

function fetchRow(index, trait = byId("filters").trait.value) {
  const key = `${index} ${trait}`;
  if (!state.seen.has(key)) {
    const found = ask("/api/row", { index, trait });
    found.catch(() => state.seen.delete(key));
    state.seen.set(key, found);
    if (state.seen.size > 60) state.seen.delete(state.seen.keys().next().value);
  }
  return state.seen.get(key);
}

async function show(at) {
  const turn = ++state.turn;
  state.at = at;
  if (!state.total) return showNothing();
  const index = await findIndex(at);
  let row = await fetchRow(index);
  if (turn !== state.turn) return;
  const wanted = state.run.audit ? findUnlabelled(row) : byId("filters").trait.value;
  state.trait =
    wanted ||
    listQuestions(row)[0] ||
    row.questions?.[0] ||
    row.traits?.[0]?.trait ||
    state.run.traits[0];
  if (!wanted && row.questions?.length > 1) {
    row = await fetchRow(index, state.trait); // only the evidence of the trait in question is lit
    if (turn !== state.turn) return;
  }
  state.row = row;
  document.body.classList.remove("ended");
  byId("trait").value = state.trait;
  byId("where").textContent =
    `${(at + 1).toLocaleString("en")} of ${state.total.toLocaleString("en")}` +
    (packed?.trait ? ` with ${packed.trait}` : "");
  drawRow(row);
  drawMeaning();
  drawSide(row);
  document.dispatchEvent(new Event("row-shown"));
  window.scrollTo(0, 0);
  const lit = byId("row").querySelector("mark");
  const room = window.innerHeight - document.querySelector("footer").offsetHeight;
  if (byId("map").hidden && lit && lit.getBoundingClientRect().top > room - 40) lit.scrollIntoView({ block: "center" });
  for (const next of [at + 1, at + 2])
    if (next < state.total)
      findIndex(next)
        .then((found) => fetchRow(found))
        .catch(() => {});
  if (!state.run.blind) drawCompany(index, turn).catch(complain);
}

// after the last row: what was labelled, what is left, and what to do with the labels
const showEnd = guarded(async () => {
  const turn = ++state.turn;
  const end = await ask("/api/end", readFilters());
  if (turn !== state.turn) return;
  const isLast = state.at + 1 >= state.total;
  state.at = isLast ? state.total : state.at;
  state.row = null;
  const all = end.total.toLocaleString("en");
  const left = end.left.toLocaleString("en");
  const what = state.run.audit ? "item" : "row";
  const name = (count) => (count === 1 ? what : `${what}s`);
  byId("where").textContent = end.left ? `${left} of ${all} without a label` : `all ${all} labelled`;
  const counts = Object.entries(end.labels).map(([label, count]) => `${count.toLocaleString("en")} ${label}`);
  const each = state.run.audit && state.run.traits.length > 1 ? " (one for each item and trait)" : "";
  const missing = make("button", { type: "button", id: "left" }, `Show the ${left} ${name(end.left)} without ${each ? "all labels" : "a label"}`);
  missing.addEventListener("click", showLeft);
  const parts = [
    make("h2", {}, isLast ? `That was the last of ${all} ${name(end.total)}` : "Your labels so far"),
    make("p", { id: "counts" }, `Your labels: ${counts.join(" · ")}${each}`),
    make("p", {}, end.left ? missing : `All ${all} ${name(end.total)} have a label.`),
    describeBound(state.run.audit),
    end.note ? make("p", { id: "missed" }, end.note) : "",
    ...end.steps.flatMap(({ purpose, command }, number) => [
      make("p", {}, `${number ? "or " : "Next: "}${purpose}`),
      drawCommand(command),
    ]),
    make("p", { class: "soft" }, end.file ? `The labels are in ${end.file}` : ""),
    make("p", { class: "soft" }, "k goes back, and z takes the last label back."),
  ];
  byId("row").replaceChildren(make("div", { class: "end" }, ...parts));
  for (const id of ["definition", "effect"]) byId(id).textContent = "";
  byId("side").replaceChildren();
  document.body.classList.add("ended"); // there is no row to label
  cutMeaning(true);
  window.scrollTo(0, 0);
});

function drawCommand(command) {
  const code = make("code", {}, command);
  const copy = make("button", { type: "button" }, "Copy");
  copy.addEventListener("click", async () => {
    window.getSelection().selectAllChildren(code);
    try {
      await navigator.clipboard.writeText(command); // an unencrypted address has no clipboard
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "Selected: copy it";
    }
  });
  return make("div", { class: "command" }, code, copy);
}

const showLeft = guarded(async () => {
  if (packed) return show(packed.rows.findIndex((row) => !hasPackedLabel(row)));
  byId("filters").labelled.value = "no";
  await findRows();
});

function showNothing() {
  state.row = null;
  byId("where").textContent = "no row";
  byId("row").replaceChildren(make("p", { class: "soft" }, "No row fits these filters."));
  byId("side").replaceChildren();
  byId("effect").textContent = "";
}

// a row may have thousands of blank lines, which would push everything else out of sight
function foldBlankLines(text) {
  return text
    .split(/((?:\n[^\S\n]*){5,})/)
    .map((part, at) =>
      at % 2
        ? make("span", { class: "added" }, `\n(${part.split("\n").length - 2} blank lines)\n`)
        : part,
    );
}

function join(pieces, tag = "p", more = "") {
  const parts = pieces.map(([text, kind]) => {
    let node = document.createDocumentFragment();
    node.append(...foldBlankLines(text));
    if (kind.includes("a")) node = make("span", { class: "added" }, node);
    if (kind.includes("m")) node = make("mark", {}, node);
    if (kind.includes("x")) node = make("s", {}, node);
    return node;
  });
  return make(tag, { class: `text ${more}`, dir: "auto" }, ...parts);
}

function nameLabel(label) {
  return label === true ? "true" : label === false ? "false" : "unsure";
}

function drawRow(row) {
  const head = make(
    "p",
    { class: "head" },
    make(
      "b",
      {},
      make("bdi", {}, row.source),
      row.row === null ? "" : ` row ${row.row.toLocaleString("en")}`,
    ),
    row.decision
      ? make(
          "span",
          { class: `chip ${row.traits.some((item) => item.fired) ? "fired" : ""}` },
          row.decision,
        )
      : "",
    ...row.labels.map((item) =>
      make(
        "span",
        {
          class: `chip ${item.label === true ? "yes" : item.label === false ? "no" : ""}`,
          title: item.reason || "",
        },
        `${item.trait}: ${nameLabel(item.label)}`,
      ),
    ),
  );
  const lot = Object.entries(row.lot || {}).filter(([, value]) => value !== "-");
  const about = make(
    "p",
    { class: "soft" },
    ...lot.flatMap(([name, value]) => [
      `${name.replace("_", " ")} `,
      make("bdi", {}, value),
      " · ",
    ]),
    row.record_id || "",
  );
  const notes = row.notes.map((note) => make("p", { class: "note" }, note));
  const fields = row.fields.flatMap((field) => [
    make("p", { class: "role" }, make("b", {}, field.roles.join(" and ")), ` ${field.path}`),
    join(field.pieces, "p"),
  ]);
  byId("row").replaceChildren(head, about, ...notes, ...fields);
  underlineSearch();
}

// what was searched for, where the browser can mark text without changing it
function underlineSearch() {
  if (!CSS.highlights) return;
  const wanted = packed || state.run.blind ? "" : byId("filters").text.value.trim().toLowerCase();
  const walker = document.createTreeWalker(byId("row"), NodeFilter.SHOW_TEXT);
  const ranges = [];
  while (wanted && walker.nextNode()) {
    const text = walker.currentNode.data.toLowerCase();
    for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + wanted.length)) {
      if (at + wanted.length > walker.currentNode.data.length) break;
      const range = new Range();
      range.setStart(walker.currentNode, at);
      range.setEnd(walker.currentNode, at + wanted.length);
      ranges.push(range);
    }
  }
  const found = new Highlight();
  for (const range of ranges) found.add(range);
  CSS.highlights.set("found", found);
}

// what the trait is, and what each label will do to the row
function drawMeaning() {
  const effects = state.row?.effects?.[state.trait];
  const said = hasOtherDenial()
    ? "`congener release` counts all your labels of this row"
    : effects && `true: ${effects.true}. false: ${effects.false}`;
  byId("definition").textContent = state.run.definitions[state.trait] || "";
  byId("definition").title = byId("definition").textContent;
  byId("effect").textContent =
    state.run.effect || (said ? `${said}.` : "");
  cutMeaning(true);
}

// Long texts are cut, and then a button and the key d show them whole.
function cutMeaning(cut) {
  const isLong = (part) => part.scrollHeight > part.clientHeight + 1;
  byId("meaning").classList.remove("whole");
  byId("whole").hidden = ![byId("definition"), byId("effect")].some(isLong);
  byId("meaning").classList.toggle("whole", !cut && !byId("whole").hidden);
  byId("whole").setAttribute("aria-expanded", String(!cut));
  byId("whole").lastElementChild.textContent = cut ? "read it all" : "show less";
  document.body.style.paddingBottom = `${document.querySelector("footer").offsetHeight + 16}px`;
}

const turnMeaning = () => cutMeaning(byId("meaning").classList.contains("whole"));

// a page without a server knows what one label does, but not what several on a row do
function hasOtherDenial() {
  const given = (packed && state.row?.labels) || [];
  const denied = given.filter((item) => item.label === false && item.trait !== state.trait);
  return denied.some((item) => state.row.questions?.includes(item.trait));
}

function drawBar(item) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 8");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const add = (name, x, width, y, height) => {
    const part = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    for (const [key, value] of Object.entries({ class: name, x, width, y, height }))
      part.setAttribute(key, value);
    svg.append(part);
  };
  add("ground", 0, 100, 3, 2);
  add(item.fired ? "bar fired" : "bar", 0, 100 * (item.score ?? 0), 1.5, 5);
  if (item.threshold !== null) add("limit", 99 * Math.min(1, item.threshold), 1, 0, 8);
  return svg;
}

function drawScores(traits) {
  const cells = traits.flatMap((item) => [
    make("span", { class: item.fired ? "fired" : "" }, drawNumber(item.trait), item.trait),
    drawBar(item),
    make(
      "span",
      { class: item.fired ? "fired" : "" },
      item.by_person ? "taken out by a person" : `${showNumber(item.score)} / ${showNumber(item.threshold)}`,
    ),
  ]);
  return make("div", { class: "scores" }, ...cells);
}

function drawNumber(trait) {
  const number = state.run.traits.indexOf(trait) + 1;
  return make("span", { class: "number" }, state.run.traits.length > 1 ? String(number) : "");
}

// every trait with its number, its label on the row, and which one the question is about
function drawTraits(row) {
  if (state.run.traits.length < 2) return [];
  const labels = new Map(row.labels.map((item) => [item.trait, nameLabel(item.label)]));
  const items = state.run.traits.map((trait) => {
    const said = labels.has(trait) ? ` · ${labels.get(trait)}` : "";
    const properties = { type: "button", "aria-current": String(trait === state.trait) };
    const button = make("button", properties, drawNumber(trait), trait, said);
    button.addEventListener("click", () => judge(trait));
    return make("li", {}, button);
  });
  return [make("h3", {}, "Traits, by number"), make("ol", { class: "traits" }, ...items)];
}

function drawSide(row) {
  const side = byId("side");
  if (state.run.audit) return drawAudit(state.run.audit, row);
  if (!row.traits)
    return side.replaceChildren(
      make("p", { class: "soft" }, "A blind review shows neither scores nor decisions."),
      ...drawTraits(row),
    );
  const first = row.traits.filter((item) => item.fired || item.trait === state.trait);
  const shown = first.length ? first : row.traits.slice(0, 3);
  const rest = row.traits.filter((item) => !shown.includes(item));
  const parts = [make("h3", {}, "Score / threshold"), drawScores(shown)];
  if (rest.length)
    parts.push(
      make("details", {}, make("summary", {}, `${rest.length} other traits`), drawScores(rest)),
    );
  const own = row.traits.find((item) => item.trait === state.trait) || {};
  const signals = Object.entries(own.signals || {}).filter(([, score]) => score !== null);
  if (signals.length)
    parts.push(
      make(
        "p",
        { class: "soft" },
        `signals: ${signals.map(([name, score]) => `${name} ${score.toFixed(3)}`).join(" · ")}`,
      ),
    );
  if (own.words) parts.push(make("p", { class: "soft" }, `words: ${own.words}`));
  if (own.phrases) parts.push(make("p", { class: "soft" }, own.phrases));
  if (own.neighbours?.length)
    parts.push(
      make("h3", {}, `Nearest exemplars of ${own.trait}`),
      ...own.neighbours.map(drawNeighbour),
    );
  if (own.doubt) parts.push(make("p", { class: "note" }, own.doubt));
  if (row.decision === "quarantine" || own.neighbours?.length) parts.push("");
  else
    parts.push(
      make("p", { class: "soft" }, "Only rows in quarantine have their nearest exemplars stored."),
    );
  side.replaceChildren(...parts.filter(Boolean), make("div", { id: "company" }));
}

// the traits that fired and have no label yet, those that decided first
function listQuestions(row) {
  const known = new Set(row.labels.map((item) => item.trait));
  return (row.questions || []).filter((trait) => !known.has(trait));
}

function findUnlabelled(row) {
  const known = new Set(row.labels.map((item) => item.trait));
  return state.run.traits.find((trait) => !known.has(trait)) || state.run.traits[0];
}

function showShare(value) {
  const percent = 100 * value;
  const digits = percent >= 0.1 ? 2 : 3;
  return `${Math.ceil(percent * 10 ** digits - 1e-9) / 10 ** digits}%`;
}

function drawCurve(audit) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 44");
  svg.setAttribute("class", "curve");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const decisive = (point) => point[2] ?? point[1];
  const shares = audit.curve.map(decisive).concat(audit.target ?? []);
  const least = Math.min(0.1, ...shares);
  const most = Math.max(...audit.curve.map(([read]) => read));
  const place = (share) => 2 + (40 * Math.log(Math.max(share, least))) / Math.log(least);
  const add = (name, points) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    line.setAttribute("class", name);
    line.setAttribute("points", points.map(([x, y]) => `${x.toFixed(2)},${y.toFixed(2)}`).join(" "));
    svg.append(line);
  };
  add("ground", [[0, place(least)], [100, place(least)]]);
  if (audit.target !== null) add("target", [[0, place(audit.target)], [100, place(audit.target)]]);
  add("bound", audit.curve.map((point) => [(100 * point[0]) / most, place(decisive(point))]));
  return svg;
}

function describeBound(audit) {
  if (!audit?.after) return "";
  const bound = audit.adjusted ?? audit.bound;
  const reached = bound <= audit.target ? ": reached" : "";
  const target = audit.target === null ? "" : ` (target ${showShare(audit.target)}${reached})`;
  const said = `After ${audit.after} items: at most ${showShare(bound)} of the kept rows show a trait${target}`;
  return make("p", { id: "reached" }, said);
}

function drawAudit(audit, row) {
  const bound = audit.adjusted ?? audit.bound;
  const parts = [make("h3", {}, "The bound by your labels")];
  const soft = (text) => make("p", { class: "soft" }, text);
  if (!audit.after) parts.push(make("p", {}, `It is shown after ${audit.block} items.`));
  else {
    parts.push(
      make("p", { class: "bound" }, `at most ${showShare(bound)}`),
      soft(`of the ${audit.rows.toLocaleString("en")} kept rows show a trait`),
      drawCurve(audit),
      soft(`after ${audit.after} items, ${audit.read} of them kept rows`),
    );
    parts.push(
      soft(
        audit.adjusted === null
          ? "That is what you see: no mixed-in text was read yet."
          : `You see a trait in at most ${showShare(audit.bound)}; the bound allows for what you ` +
              "miss, as measured by the texts that are mixed in.",
      ),
    );
  }
  if (audit.target !== null)
    parts.push(
      soft(`target ${showShare(audit.target)}${audit.after && bound <= audit.target ? ": reached" : ""}`),
    );
  parts.push(
    soft("You may stop at any time. Items that you skip hold back those behind them."),
    soft(`The bound changes after every ${audit.block} items; labels that are in it stay.`),
  );
  if (audit.in_sight)
    parts.push(
      make(
        "p",
        { class: "note" },
        `${audit.in_sight} items are rows that you labelled in sight of their scores: ` +
          "your labels of these don't count, so another reviewer should label them.",
      ),
    );
  byId("side").replaceChildren(...parts, ...drawTraits(row));
}

function drawNeighbour(near) {
  const kind = near.owner ? `${near.polarity} (${near.owner})` : near.polarity;
  return make(
    "div",
    { class: `near ${near.polarity}` },
    make("p", { class: "soft" }, `${near.similarity.toFixed(3)} ${kind}`),
    join(near.pieces),
  );
}

async function drawCompany(index, turn) {
  const company = await ask("/api/company", { index });
  if (turn !== state.turn || !byId("company")) return;
  const { lot, others } = company;
  const list = (counts) =>
    Object.entries(counts)
      .map(([name, count]) => `${name} ${count.toLocaleString("en")}`)
      .join(" · ");
  const parts = [
    make("h3", {}, "This lot", make("small", {}, ", whatever the date")),
    make(
      "p",
      {},
      `${lot.rows.toLocaleString("en")} ${lot.rows === 1 ? "row" : "rows"}: ${list(lot.decisions)}`,
    ),
    make(
      "p",
      { class: "soft" },
      Object.keys(lot.traits).length ? `fired: ${list(lot.traits)}` : "no trait fired",
    ),
  ];
  parts.push(make("h3", {}, "Other answers to the same prompt"));
  if (!others) parts.push(make("p", { class: "soft" }, "The texts are still being read."));
  else if (!others.total) parts.push(make("p", { class: "soft" }, "None in this run."));
  else {
    if (others.total > others.rows.length)
      parts.push(
        make(
          "p",
          { class: "soft" },
          `${others.rows.length} of ${others.total.toLocaleString("en")}`,
        ),
      );
    parts.push(
      ...others.rows.map((other) =>
        make(
          "div",
          { class: "near" },
          make(
            "p",
            { class: "soft" },
            make("bdi", {}, other.source),
            ` row ${other.row.toLocaleString("en")} · `,
            ...(other.teacher === "-" ? [] : [make("bdi", {}, other.teacher), " · "]),
            `${other.decision}${other.fired.length ? ` (${other.fired.join(", ")})` : ""}`,
          ),
          join(other.pieces),
        ),
      ),
    );
  }
  byId("company").replaceChildren(...parts);
}

const move = guarded(async (step) => {
  if (!state.row && state.at < state.total) return show(state.at); // from the end's counts
  const to = state.at + step;
  if (step > 0 && to === state.total) return showEnd();
  if (to >= 0 && to < state.total) await show(to);
});

const label = guarded(async (verdict) => {
  if (!state.row || state.busy) return;
  state.busy = true;
  try {
    const answer = await ask(
      "/api/label",
      {},
      { index: state.row.index, trait: state.trait, label: verdict, reason: byId("reason").value },
    );
    byId("reason").value = "";
    forget(state.row.index);
    countLabels(answer.labels);
    if (answer.audit) state.run.audit = answer.audit;
    announce(
      verdict === "none"
        ? "none of the traits"
        : `${state.trait}: ${verdict === "yes" ? "true" : verdict === "no" ? "false" : "unsure"}`,
    );
    const isWhole = answer.whole !== false && !(await hasQuestion(state.row.index));
    if (isWhole && state.at + 1 === state.total) return await showEnd();
    await show(isWhole ? state.at + 1 : state.at);
  } finally {
    state.busy = false;
  }
});

async function hasQuestion(index) {
  if (state.run.audit || state.run.blind || byId("filters").trait.value) return false;
  return listQuestions(await fetchRow(index)).length > 0;
}

const undo = guarded(async () => {
  const answer = await ask("/api/undo", {}, {});
  forget(answer.index);
  countLabels(answer.labels);
  if (answer.audit) state.run.audit = answer.audit;
  const at = [...state.rows].find(([, index]) => index === answer.index)?.[0];
  await show(at ?? Math.min(state.at, Math.max(0, state.total - 1)));
  announce(`label of ${answer.trait} taken back`);
});

function forget(index) {
  for (const key of [...state.seen.keys()]) if (key.startsWith(`${index} `)) state.seen.delete(key);
}

function announce(text) {
  byId("count").title = text;
  byId("count").classList.remove("flash");
  void byId("count").offsetWidth;
  byId("count").classList.add("flash");
}

function countLabels(count) {
  const each = state.run?.audit && state.run.traits.length > 1 ? ", one for each item and trait" : "";
  byId("count").textContent = `${count.toLocaleString("en")} label${count === 1 ? "" : "s"}${each}`;
}

const judge = guarded(async (trait) => {
  state.trait = byId("trait").value = trait;
  if (!state.row) return;
  drawMeaning();
  if (state.run.blind) return drawSide(state.row);
  const turn = ++state.turn;
  const row = await fetchRow(state.row.index, trait);
  if (turn !== state.turn) return;
  drawRow(row);
  drawSide(row);
  await drawCompany(row.index, turn);
});

function turnTrait(step) {
  const known = state.run.traits;
  judge(known[(known.indexOf(state.trait) + step + known.length) % known.length]);
}

// A digit chooses a trait at once; a second one within a second makes a number of both.
const typed = { text: "", time: 0 };

function typeDigit(digit) {
  const now = performance.now();
  const both = now - typed.time < 1000 ? typed.text + digit : digit;
  typed.text = state.run.traits[both - 1] ? both : digit;
  typed.time = now;
  const trait = state.run.traits[typed.text - 1];
  if (trait) judge(trait);
  else typed.text = "";
}

function saveLabels() {
  const lines = state.kept.map((line) => `${JSON.stringify(line)}\n`).join("");
  const link = make("a", {
    href: URL.createObjectURL(new Blob([lines], { type: "application/x-ndjson" })),
    download: "labels.jsonl",
  });
  link.click();
}

const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  ArrowRight: () => move(1),
  ArrowLeft: () => move(-1),
  t: () => label("yes"),
  f: () => label("no"),
  u: () => label("unsure"),
  n: () => !byId("none").hidden && label("none"),
  z: () => undo(),
  r: () => byId("reason").focus(),
  d: () => turnMeaning(),
  "/": () => byId("filters").text.focus(),
  "[": () => turnTrait(-1),
  "]": () => turnTrait(1),
  "?": () => byId("help").showModal(),
  m: () => byId("map-button").click(),
  e: () => showEnd(),
  g: guarded(() => state.total && show(0)),
  G: guarded(() => state.total && show(state.total - 1)),
};

function pressKey(event) {
  const inField = event.target.closest("input, select, dialog, textarea");
  if (inField) {
    if (event.key === "Escape" || (event.key === "Enter" && event.target.id === "reason"))
      event.target.blur();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (/^[0-9]$/.test(event.key)) return typeDigit(event.key);
  typed.text = "";
  if (!(event.key in KEYS)) return;
  event.preventDefault();
  KEYS[event.key]();
}

function fill(select, values, first) {
  select.replaceChildren(
    ...(first ? [make("option", { value: "" }, first)] : []),
    ...values.map(([value, text]) => make("option", { value }, text)),
  );
}

function prepareFilters(run) {
  const form = byId("filters");
  fill(
    form.trait,
    run.traits.map((trait) => [trait, trait]),
    run.blind ? "" : "any trait",
  );
  const number = (at) => (run.traits.length > 1 ? `${at + 1} ` : "");
  fill(
    byId("trait"),
    run.traits.map((trait, at) => [trait, number(at) + trait]),
  );
  if (packed) {
    form.hidden = true;
    form.trait.value = packed.trait || form.trait.value; // the trait whose evidence is marked
  }
  if (run.blind) for (const part of form.querySelectorAll("[data-open]")) part.hidden = true;
  if (!packed) form.trait.value = run.chosen?.trait || form.trait.value;
  if (run.blind || packed) return;
  const decisions = Object.entries(run.values.decision).map(([name, count]) => [
    name,
    `${name} (${count.toLocaleString("en")})`,
  ]);
  fill(form.decision, [...decisions, ["any", "any"]], "a trait fired");
  form.decision.value = run.chosen?.decision || "";
  for (const name of ["teacher", "prompt_source", "system_prompt", "date", "source"]) {
    const values = Object.keys(run.values[name]).map((value) => make("option", { value }));
    form.append(make("datalist", { id: `list-${name}` }, ...values));
  }
}

async function watchTexts() {
  const progress = await ask("/api/progress");
  const text =
    progress.problem ||
    (progress.ready
      ? ""
      : `texts read: ${progress.done} of ${progress.of} shards; search comes then`);
  byId("progress").textContent = text;
  if (!progress.ready && !progress.problem) setTimeout(() => watchTexts().catch(complain), 1000);
}

export function isDark() {
  const theme = document.documentElement.dataset.theme;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function turnTheme() {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
}

const start = guarded(async () => {
  const run = (state.run = await ask("/api/run"));
  byId("run").textContent = run.run;
  document.title = `${run.run} · congener review`;
  byId("reviewer").textContent = run.reviewer;
  byId("blind").hidden = !run.blind;
  byId("none").hidden = !run.audit || run.traits.length < 2;
  byId("filters").trait.parentElement.hidden = Boolean(run.audit);
  byId("save").hidden = !packed;
  countLabels(run.labels);
  prepareFilters(run);
  let waiting = 0;
  const search = guarded(() => findRows());
  byId("filters").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(search, 200);
  });
  byId("filters").addEventListener("reset", () => setTimeout(search));
  byId("filters").addEventListener("submit", (event) => {
    event.preventDefault();
    document.activeElement.blur();
  });
  byId("trait").addEventListener("change", () => {
    judge(byId("trait").value);
    byId("trait").blur();
  });
  for (const button of document.querySelectorAll("[data-label]"))
    button.addEventListener("click", () => {
      button.blur();
      label(button.dataset.label);
    });
  for (const [id, work] of [
    ["undo", undo],
    ["previous", () => move(-1)],
    ["next", () => move(1)],
    ["save", saveLabels],
    ["whole", turnMeaning],
    ["finish", showEnd],
    ["theme", turnTheme],
    ["help-button", () => byId("help").showModal()],
  ]) {
    byId(id).addEventListener("click", () => {
      byId(id).blur();
      work();
    });
  }
  document.addEventListener("keydown", pressKey);
  window.addEventListener("resize", () => cutMeaning(true));
  await findRows(run.audit?.next ?? 0);
  watchTexts().catch(complain);
});

export const ready = start();
