// The page of `druppel review --web`. Plain DOM; what customers wrote goes in as text nodes only.
"use strict";

(() => {
  const SENTIMENTS = ["negatief", "positief", "neutraal", "gemengd"];
  const TONES = {
    neg: { sign: "−", short: "neg", name: "negatief" },
    pos: { sign: "+", short: "pos", name: "positief" },
    neu: { sign: "○", short: "neu", name: "neutraal" },
  };
  const STORE = "druppel-beoordelen";
  const $ = (id) => document.getElementById(id);
  const main = $("main");

  let queue; // what the server sent
  let items = [];
  let at = 0; // number of the answer that is shown; items.length is the end
  let current = 0; // number of the aspect that keys act on
  let pick = null; // words that are being pointed at as evidence
  let toggling = false; // S was pressed: the next digit is a signal
  let complain = false; // show what keeps this answer from being saved
  let busy = false; // the server is being asked for something
  let sending = null; // the decision that is on its way: its key, and what it replaces
  let retryNow = null; // cuts the wait for a server that is gone short
  let search = null; // what the search box is open for
  const drafts = new Map(); // by key: { now, past } of what is not saved yet
  const skipped = new Set();

  // ---- offsets: the server counts characters, JavaScript UTF-16 units -------------------------

  function unitStarts(text) {
    const starts = [];
    let unit = 0;
    for (const character of text) {
      starts.push(unit);
      unit += character.length;
    }
    starts.push(unit);
    return starts;
  }

  const toUnit = (item, point) => item.starts[Math.min(point, item.starts.length - 1)];

  function toPoint(item, unit) {
    const point = item.starts.findIndex((start) => start >= unit);
    return point < 0 ? item.starts.length - 1 : point;
  }

  // ---- what is being decided -----------------------------------------------------------------

  const item = () => items[at];
  const isOpen = (it) => !it.decision;
  const leafOf = (slug) => queue.leaves.find((leaf) => leaf.slug === slug);
  const nameOf = (slug) =>
    [...queue.leaves, ...queue.categories, ...queue.signals].find((x) => x.slug === slug)?.name_nl || slug || "dit aspect";

  function proposed(it) {
    const aspects = it.proposal.aspects.map((a) => ({
      category: a.category || null,
      leaf: leafOf(a.leaf) ? a.leaf : null,
      polarity: a.polarity,
      start: a.start < a.end ? toUnit(it, a.start) : null,
      end: a.start < a.end ? toUnit(it, a.end) : null,
      sure: Math.round(a.probability * 100),
    }));
    return {
      sentiment: it.proposal.sentiment?.label ?? null,
      aspects,
      signals: it.proposal.signals.map((s) => s.signal).filter((s) => queue.signals.some((x) => x.slug === s)),
      remark: "",
    };
  }

  function decided(it) {
    const aspects = it.decision.aspects.map((a) => {
      let start = a.start ?? (a.evidence ? it.text.indexOf(a.evidence) : -1);
      if (start < 0) start = null;
      const leaf = leafOf(a.leaf);
      return {
        category: leaf?.parent ?? null,
        leaf: leaf ? a.leaf : null,
        polarity: a.polarity,
        start,
        end: start === null ? null : start + a.evidence.length,
      };
    });
    const signals = it.decision.signals.filter((s) => queue.signals.some((x) => x.slug === s));
    return { sentiment: it.decision.sentiment, aspects, signals, remark: it.decision.remark ?? "" };
  }

  const baseline = (it) => (it.decision ? decided(it) : proposed(it));

  function draft(it = item()) {
    if (!drafts.has(it.key)) drafts.set(it.key, { now: baseline(it), past: [] });
    return drafts.get(it.key);
  }

  const now = () => draft().now;

  /** What a decision says, to send and to compare. */
  function said(it, work) {
    return {
      sentiment: work.sentiment,
      aspects: work.aspects.map((a) => ({
        leaf: a.leaf,
        polarity: a.polarity,
        start: a.start === null ? null : toPoint(it, a.start),
        end: a.start === null ? null : toPoint(it, a.end),
      })),
      signals: queue.signals.map((s) => s.slug).filter((s) => work.signals.includes(s)),
      remark: work.remark.trim() || null,
    };
  }

  function isChanged(it) {
    const work = drafts.get(it.key)?.now;
    return !!work && JSON.stringify(said(it, work)) !== JSON.stringify(said(it, baseline(it)));
  }

  function change(edit) {
    if (busy || !item()) return;
    const work = draft();
    work.past.push(structuredClone(work.now));
    edit(work.now);
    current = Math.max(0, Math.min(current, work.now.aspects.length - 1));
    remember();
    render();
  }

  function problems(work) {
    const found = [];
    if (!work.sentiment) found.push({ aspect: null, what: "Kies eerst een sentiment (1–4)." });
    const seen = new Set();
    work.aspects.forEach((a, i) => {
      if (!a.leaf) {
        found.push({ aspect: i, what: "Kies een label (L), of haal dit aspect weg (X)." });
        return;
      }
      const pair = `${a.leaf} ${a.polarity}`;
      if (seen.has(pair)) found.push({ aspect: i, what: "Staat er al met dezelfde toon; haal er een weg (X)." });
      seen.add(pair);
    });
    return found;
  }

  // ---- talking to the server -----------------------------------------------------------------

  function token() {
    const given = location.hash.slice(1);
    return given || read().token || "";
  }

  function read() {
    try {
      return JSON.parse(sessionStorage.getItem(STORE)) ?? {};
    } catch {
      return {};
    }
  }

  /** Keep, for this tab only, what a reload must not lose. The texts themselves are not kept. */
  function remember() {
    const kept = items.filter((it) => isChanged(it) || (sending?.key === it.key && drafts.has(it.key)));
    const state = {
      token: token(),
      at: item()?.key,
      skipped: [...skipped],
      drafts: kept.map((it) => [it.key, drafts.get(it.key).now]),
      sending,
    };
    try {
      sessionStorage.setItem(STORE, JSON.stringify(state));
    } catch {
      // Without it a reload begins at the first open answer.
    }
  }

  async function fetchJson(path, body) {
    const reply = await fetch(path, {
      method: body ? "POST" : "GET",
      headers: { "X-Druppel-Token": token(), ...(body && { "Content-Type": "application/json" }) },
      body: body && JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.timeout(15000),
    });
    return { status: reply.status, data: await reply.json() };
  }

  /** Ask until there is an answer: a server that is away comes back, and nothing is lost. */
  async function request(path, body) {
    for (let tries = 0; ; tries++) {
      let reply = null;
      try {
        reply = await fetchJson(path, body);
      } catch {
        // No answer at all.
      }
      if (reply && reply.status < 500) {
        if (reply.status === 403) alarmStopped();
        else alarm(null);
        return reply;
      }
      alarmAway(reply, Boolean(body));
      await new Promise((resolve) => {
        retryNow = resolve;
        setTimeout(resolve, Math.min(1000 * 2 ** tries, 8000));
      });
      retryNow = null;
    }
  }

  /** Show a message that stays; null takes it away. One that is there is not announced anew. */
  function alarm(title, rest = "", ...buttons) {
    if (title && $("alarm").textContent.startsWith(title)) return;
    $("alarm").hidden = title === null;
    $("alarm").replaceChildren(...(title === null ? [] : [h("p", {}, h("strong", {}, title), rest), ...buttons]));
  }

  function alarmAway(reply, saving) {
    let why = "De server is niet bereikbaar.";
    if (reply) why = "De server kan dit nu niet doen.";
    if (reply?.data.error === "not_saved") why = "Opslaan lukt niet. Is de schijf vol, of de map niet te schrijven?";
    const kept = saving ? " Je beslissing staat nog in dit venster: laat het open." : "";
    const again = " Er wordt steeds opnieuw geprobeerd. Kijk of druppel nog draait in het andere venster.";
    const button = h("button", { type: "button", onclick: () => retryNow?.() }, "Nu proberen");
    alarm(why, kept + again, button);
  }

  function alarmStopped() {
    alarm("Deze link hoort bij een sessie die gestopt is.", " Open in dit tabblad de link die druppel nu toont.");
    if (!queue) main.replaceChildren(h("p", { class: "wait" }, "Er is niets te tonen."));
  }

  async function save(replaces = item().decision?.number ?? null) {
    const it = item();
    const work = structuredClone(now());
    const says = said(it, work);
    sending = { key: it.key, replaces };
    setBusy(true);
    const { status, data } = await request("api/decide", { ...sending, ...says });
    if (status === 403) return; // stays locked: the decision waits for the new link
    sending = null;
    setBusy(false);
    if (status === 200) {
      const aspects = work.aspects.map((a) => ({
        ...a,
        evidence: a.start === null ? null : it.text.slice(a.start, a.end),
      }));
      it.decision = { ...says, aspects, number: data.number };
      queue.session = data.session;
      drafts.delete(it.key);
      skipped.delete(it.key);
      show(next(), "Bewaard.");
    } else if (status === 409) {
      it.decision = data.decision;
      remember();
      render();
      const how = data.decision ? "anders beoordeeld" : "teruggenomen";
      const what = `Dit antwoord is intussen in een ander venster ${how}.`;
      alarm(what, " Er is niets overschreven. Enter bewaart wat hier staat, → gaat verder zonder.");
    } else {
      remember();
      alarm(`Niet bewaard: de server weigert dit (${data.error}).`);
    }
  }

  async function withdraw(number) {
    setBusy(true);
    const { status, data } = await request("api/withdraw", { number });
    if (status === 403) return;
    setBusy(false);
    if (status !== 200) {
      await refresh();
      return;
    }
    const index = items.findIndex((it) => it.key === data.key);
    const it = items[index];
    const taken = it.decision?.number === number ? decided(it) : null;
    queue.session = data.session;
    it.decision = data.decision;
    drafts.delete(it.key);
    skipped.delete(it.key);
    if (!it.decision && taken) drafts.set(it.key, { now: taken, past: [] });
    show(index, it.decision ? "Teruggenomen; wat je eerder besloot telt weer." : "Teruggenomen: dit antwoord is weer open.");
  }

  /** Learn what another window did meanwhile. */
  async function refresh() {
    if (busy || !queue) return;
    let reply;
    try {
      reply = await fetchJson("api/queue");
    } catch {
      return;
    }
    if (busy || reply.status !== 200) return;
    const standing = new Map(reply.data.items.map((it) => [it.key, it.decision]));
    queue.session = reply.data.session;
    for (const it of items) {
      const decision = standing.get(it.key) ?? null;
      if (decision?.number === it.decision?.number) continue;
      const edited = isChanged(it);
      it.decision = decision;
      if (!edited) drafts.delete(it.key);
    }
    render();
  }

  function setBusy(value) {
    busy = value;
    main.setAttribute("aria-busy", String(value));
    main.inert = value;
    for (const button of $("actions").querySelectorAll("button")) button.disabled = value;
    if (!value) main.focus({ preventScroll: true });
    remember();
  }

  // ---- moving --------------------------------------------------------------------------------

  function next() {
    const waiting = (it) => isOpen(it) && !skipped.has(it.key);
    const later = items.findIndex((it, i) => i > at && waiting(it));
    const first = later >= 0 ? later : items.findIndex(waiting);
    return first >= 0 ? first : items.length;
  }

  function show(index, message = "") {
    at = index;
    current = 0;
    pick = null;
    toggling = complain = false;
    alarm(null);
    getSelection().removeAllRanges();
    remember();
    render();
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
    main.querySelector(".left")?.scrollTo(0, 0);
    const place = item() ? `Antwoord ${at + 1} van ${items.length}.` : "Klaar.";
    say(message ? `${message} ${place}` : place);
  }

  const say = (message) => {
    $("status").textContent = message;
  };

  const actions = {
    accept() {
      const it = item();
      if (!it) {
        if (items.some(isOpen)) actions.again();
        return;
      }
      const [problem] = problems(now());
      if (problem) {
        complain = true;
        if (problem.aspect !== null) current = problem.aspect;
        render();
        say(problem.what);
        if (problem.aspect !== null && !now().aspects[current].leaf) openSearch(current);
      } else if (it.decision && !isChanged(it)) {
        show(next());
      } else {
        save();
      }
    },
    skip() {
      const it = item();
      if (!it) return;
      if (isOpen(it)) {
        skipped.add(it.key);
        show(next(), "Overgeslagen.");
      } else {
        show(at + 1 < items.length ? at + 1 : next());
      }
    },
    back() {
      if (at > 0) show(at - 1);
      else say("Dit is het eerste antwoord.");
    },
    undo() {
      const work = item() && drafts.get(item().key);
      if (work?.past.length) {
        work.now = work.past.pop();
        current = Math.max(0, Math.min(current, work.now.aspects.length - 1));
        remember();
        render();
        say("Wijziging teruggedraaid.");
      } else if (queue.session.length) {
        withdraw(queue.session.at(-1));
      } else {
        say("Er is in deze sessie niets om terug te nemen.");
      }
    },
    again() {
      skipped.clear();
      at = -1;
      show(next());
    },
  };

  // ---- drawing -------------------------------------------------------------------------------

  function h(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== false));
    return element;
  }

  function render() {
    const focus = main.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
    const left = () => h("div", { class: "left" }, drawAnswer(), drawWhole());
    const scrolled = main.querySelector(".left")?.scrollTop ?? 0;
    main.replaceChildren(...(item() ? [left(), drawParts()] : [drawEnd()]));
    if (focus) (main.querySelector(`[data-focus="${focus}"]`) ?? main).focus({ preventScroll: true });
    if (item()) main.querySelector(".left").scrollTop = scrolled;
    drawProgress();
    drawActions();
    light();
  }

  function drawProgress() {
    const done = items.filter((it) => it.decision).length;
    const session = items.filter((it) => queue.session.includes(it.decision?.number)).length;
    const left = items.length - done;
    $("bar").max = Math.max(items.length, 1);
    $("bar").value = done;
    $("counts").textContent = `${done} van ${items.length} klaar · nog ${left} · deze sessie ${session}`;
    document.title = `${left ? `(${left}) ` : ""}Beoordelen – Druppel`;
  }

  function drawActions() {
    $("actions").hidden = !items.length;
    const button = (name) => $("actions").querySelector(`[data-do="${name}"]`);
    const it = item();
    button("skip").hidden = !it;
    button("accept").hidden = !it;
    button("skip").lastElementChild.textContent = it && !isOpen(it) ? "Volgende" : "Overslaan";
    button("accept").lastElementChild.textContent = it && !isOpen(it) && !isChanged(it) ? "Klopt, verder" : "Bewaren";
  }

  function drawAnswer() {
    const it = item();
    main.setAttribute("aria-label", `Antwoord ${at + 1} van ${items.length}`);
    const facts = h(
      "div",
      { class: "facts" },
      h("h1", {}, `Antwoord ${at + 1} van ${items.length}`),
      it.score === null ? null : h("span", { class: "badge" }, `cijfer ${it.score.toLocaleString("nl-NL")}`),
      it.row === null ? null : h("span", {}, `rij ${it.row}`),
      it.part === "meting"
        ? h("span", { class: "badge measure", title: "Hiermee wordt gemeten hoe goed het model is; er wordt niet van geleerd." }, "meting")
        : null,
      drawState(it),
    );
    const text = h("p", { class: "text", id: "text", lang: "nl", spellcheck: "false", translate: "no" });
    fillText(text, it);
    return h(
      "section",
      { class: "card answer", "aria-label": "Het antwoord" },
      facts,
      it.question ? h("p", { class: "question" }, it.question) : null,
      text,
      drawPick(),
      h("p", { class: "reason" }, "Gekozen omdat: ", it.reason),
    );
  }

  function drawState(it) {
    if (isChanged(it)) return h("span", { class: "badge changed" }, "✎ aangepast, nog niet bewaard");
    if (it.decision) return h("span", { class: "badge saved" }, "✓ bewaard");
    return skipped.has(it.key) ? h("span", { class: "badge" }, "overgeslagen") : null;
  }

  /** Put the text in with its evidence: overlapping pieces become nested spans, each in a lane. */
  function fillText(element, it) {
    if (!it.text.trim()) {
      element.classList.add("empty");
      element.textContent = "(leeg antwoord)";
      return;
    }
    element.classList.toggle("pointing", pick?.by === "keys");
    const layers = [];
    now().aspects.forEach((a, i) => {
      if (a.start === null || a.start >= a.end) return;
      const mark = `${i + 1}${TONES[a.polarity].sign}`;
      const same = layers.find((l) => l.start === a.start && l.end === a.end && l.kind === a.polarity);
      if (same) {
        same.id += ` a${i}`;
        same.mark += ` ${mark}`;
        return;
      }
      let lane = 0;
      while (layers.some((other) => other.lane === lane && other.start < a.end && a.start < other.end)) lane++;
      layers.push({ start: a.start, end: a.end, lane, id: `a${i}`, kind: a.polarity, mark });
    });
    for (const s of it.proposal.signals) {
      layers.push({ start: toUnit(it, s.start), end: toUnit(it, s.end), id: `s-${s.signal}`, kind: "signal" });
    }
    if (pick?.by === "keys") layers.push({ ...pickRange(it), id: "pick", kind: "chosen" });
    const cuts = new Set([0, it.text.length]);
    for (const layer of layers) cuts.add(layer.start).add(layer.end);
    const edges = [...cuts].sort((a, b) => a - b);
    edges.slice(0, -1).forEach((start, i) => {
      const end = edges[i + 1];
      let place = element;
      for (const layer of layers.filter((l) => l.start <= start && end <= l.end)) {
        const mark = layer.start === start ? layer.mark : null;
        const span = h("span", { class: `ev ${layer.kind}`, "data-layer": layer.id, "data-mark": mark });
        if (layer.lane) span.style.setProperty("--lane", layer.lane);
        place.append(span);
        place = span;
      }
      place.append(it.text.slice(start, end));
    });
  }

  function drawWhole() {
    return h(
      "section",
      { class: "card stack", "aria-label": "Over het hele antwoord" },
      drawSentiment(),
      queue.signals.length ? drawSignals() : null,
    );
  }

  function drawParts() {
    return h("section", { class: "card stack", "aria-label": "Aspecten en opmerking" }, drawAspects(), drawRemark());
  }

  function toggle(label, key, pressed, focus, act, extra = {}) {
    return h(
      "button",
      { type: "button", "aria-pressed": String(pressed), "data-focus": focus, onclick: act, ...extra },
      h("kbd", { "aria-hidden": "true" }, key),
      h("span", { class: "tick" }, label),
    );
  }

  function drawSentiment() {
    const work = now();
    const missing = complain && !work.sentiment;
    return h(
      "div",
      { role: "group", "aria-labelledby": "sentiment-title" },
      h("div", { class: "head" }, h("h2", { id: "sentiment-title" }, "Sentiment")),
      h(
        "div",
        { class: "toggles" },
        SENTIMENTS.map((name, i) =>
          toggle(name, String(i + 1), work.sentiment === name, `sentiment${i}`, () => setSentiment(name)),
        ),
      ),
      missing ? h("p", { class: "problem" }, "Kies eerst een sentiment.") : null,
    );
  }

  function drawAspects() {
    const work = now();
    const faults = new Map(problems(work).map((p) => [p.aspect, p.what]));
    return h(
      "div",
      {},
      h(
        "div",
        { class: "head" },
        h("h2", { id: "aspects-title" }, "Aspecten"),
        h("button", { type: "button", "data-focus": "add", onclick: () => openSearch(null) }, h("kbd", { "aria-hidden": "true" }, "A"), " Toevoegen"),
      ),
      work.aspects.length
        ? h("ul", { class: "aspects", "aria-labelledby": "aspects-title" }, work.aspects.map((a, i) => drawAspect(a, i, faults.get(i))))
        : h("p", { class: "none" }, "Geen aspecten. Is dat zo? Dan is Enter genoeg."),
    );
  }

  function drawAspect(a, i, fault) {
    const it = item();
    const tone = TONES[a.polarity];
    const quote = a.start === null ? null : it.text.slice(a.start, a.end);
    const name = a.leaf ? nameOf(a.leaf) : "Kies een label";
    const small = [a.category ? nameOf(a.category) : null, a.sure ? `${a.sure}%` : null].filter(Boolean);
    const certain = a.sure ? `\nHet model is ${a.sure}% zeker.` : "";
    const clickable = (attributes, act, ...content) =>
      h("button", { type: "button", ...attributes, onclick: () => { current = i; act(); } }, ...content);
    return h(
      "li",
      {
        class: `aspect ${a.polarity}${i === current ? " current" : ""}`,
        tabindex: i === current ? "0" : "-1",
        "data-focus": `aspect${i}`,
        "data-layer": `a${i}`,
        "aria-current": i === current ? "true" : null,
        "aria-label": `Aspect ${i + 1}: ${name}, ${tone.name}. ${quote === null ? "Geen bewijs." : `Bewijs: ${quote}`}`,
      },
      h("span", { class: "nr", "aria-hidden": "true" }, `${i + 1}${tone.sign}`),
      clickable(
        { class: a.leaf ? "label" : "label missing", title: `${definitionOf(a.leaf ?? a.category)}${certain}`, "data-focus": `label${i}`, "aria-label": `Label: ${name}. Wijzigen` },
        () => openSearch(i),
        name,
      ),
      h(
        "div",
        { class: "tones", role: "group", "aria-label": `Toon van aspect ${i + 1}` },
        Object.entries(TONES).map(([polarity, t]) =>
          clickable(
            { "aria-pressed": String(a.polarity === polarity), "aria-label": t.name, title: t.name, "data-focus": `tone${i}${polarity}` },
            () => setTone(polarity),
            `${t.sign} ${t.short}`,
          ),
        ),
        clickable({ class: "delete", "aria-label": `Haal aspect ${i + 1} weg`, title: "Weghalen (X)", "data-focus": `delete${i}` }, removeAspect, "✕"),
      ),
      h(
        "div",
        { class: "quote" },
        h("p", {}, small.length ? h("span", { class: "category" }, small.join(" · ")) : "", quote === null ? "geen bewijs" : h("q", {}, quote)),
        clickable({ "data-focus": `point${i}` }, point, quote === null ? "aanwijzen" : "wijzigen"),
      ),
      fault && (complain || a.leaf) ? h("p", { class: "problem" }, fault) : null,
    );
  }

  function definitionOf(slug) {
    const label = [...queue.leaves, ...queue.categories].find((x) => x.slug === slug);
    return label ? `${readable(label.definition)}${label.counter_definition ? `\nNiet: ${readable(label.counter_definition)}` : ""}` : "";
  }

  /** Definitions name other labels by their slugs; people know them by their names. */
  const readable = (text) => text.replace(/[a-z0-9]+(?:_[a-z0-9]+)+/gu, (slug) => `‘${nameOf(slug)}’`);

  function drawSignals() {
    const work = now();
    const many = queue.signals.length > 9;
    return h(
      "div",
      { role: "group", "aria-labelledby": "signals-title" },
      h(
        "div",
        { class: "head" },
        h("h2", { id: "signals-title" }, "Signalen"),
        h("span", { class: "hint" }, toggling ? "Druk op het cijfer van het signaal …" : h("span", {}, h("kbd", {}, "S"), " en cijfer")),
      ),
      h(
        "div",
        { class: `toggles${toggling ? " waiting" : ""}` },
        queue.signals.map((s, i) =>
          toggle(s.name_nl, many && i > 8 ? "" : String(i + 1), work.signals.includes(s.slug), `signal${i}`, () => toggleSignal(i), {
            title: s.definition,
            "data-layer": `s-${s.slug}`,
          }),
        ),
      ),
    );
  }

  function drawRemark() {
    let before = null;
    const field = h("textarea", {
      id: "remark",
      rows: "1",
      maxlength: "2000",
      "data-focus": "remark",
      onfocus: () => { before = structuredClone(now()); },
      oninput: () => {
        now().remark = field.value;
        remember();
      },
      onchange: () => {
        if (!before) return;
        draft().past.push(before);
        before = null;
        render();
      },
    });
    field.value = now().remark;
    return h(
      "div",
      {},
      h("div", { class: "head" }, h("h2", {}, h("label", { for: "remark" }, "Opmerking")), h("span", { class: "hint" }, h("kbd", {}, "R"))),
      field,
    );
  }

  function drawEnd() {
    main.setAttribute("aria-label", "Klaar");
    const open = items.filter(isOpen).length;
    const session = items.filter((it) => queue.session.includes(it.decision?.number)).length;
    const answers = (n) => `${n} ${n === 1 ? "antwoord" : "antwoorden"}`;
    return h(
      "section",
      { class: "card end" },
      h("h1", {}, items.length ? (open ? "Aan het eind van de rij" : "Klaar: alles is beoordeeld") : "Er staat niets in de rij"),
      h("p", {}, `Je hebt in deze sessie ${answers(session)} beoordeeld. Alles staat op schijf.`),
      open
        ? h(
            "p",
            {},
            `${answers(open)} ${open === 1 ? "is" : "zijn"} overgeslagen. `,
            h("button", { type: "button", class: "primary", onclick: actions.again }, h("kbd", {}, "Enter"), " Alsnog bekijken"),
          )
        : null,
      h("h2", {}, "Wat nu?"),
      h(
        "ol",
        {},
        h("li", {}, "Sluit dit tabblad en stop ", h("code", {}, "druppel review"), " in het andere venster met ", h("kbd", {}, "Ctrl+C"), "."),
        h("li", {}, "Maak een model dat van je beslissingen heeft geleerd: ", h("code", {}, "druppel train")),
        h("li", {}, "Kijk of het beter is: ", h("code", {}, "druppel compare")),
      ),
    );
  }

  // ---- which evidence is lit -----------------------------------------------------------------

  function light(layers) {
    const focused = document.activeElement?.closest?.("#main [data-layer]")?.dataset.layer;
    const lit = new Set(layers?.length ? layers : focused ? [focused] : []);
    for (const element of main.querySelectorAll("[data-layer]")) {
      element.classList.toggle("lit", element.dataset.layer.split(" ").some((id) => lit.has(id)));
    }
    $("text")?.classList.toggle("lighting", !!main.querySelector("#text .ev.lit"));
  }

  function layersAt(element) {
    const found = [];
    for (let e = element; e && e !== main; e = e.parentElement) found.push(...(e.dataset.layer?.split(" ") ?? []));
    return found;
  }

  main.addEventListener("mouseover", (event) => light(layersAt(event.target)));
  main.addEventListener("mouseleave", () => light());
  main.addEventListener("focusin", () => light());
  main.addEventListener("click", (event) => {
    // After a click the keys go on acting on the answer, not on what was clicked.
    if (event.detail && event.target.closest("button")) main.focus({ preventScroll: true });
    const row = event.target.closest("#text [data-layer^=a], li[data-layer]");
    if (!row || event.target.closest("button") || !getSelection().isCollapsed) return;
    // Where several aspects share the words, another click goes to the next of them.
    const here = row.dataset.layer.split(" ").map((id) => Number(id.slice(1)));
    current = here[(here.indexOf(current) + 1) % here.length];
    render();
    focusAspect();
  });

  // ---- mending -------------------------------------------------------------------------------

  const setSentiment = (name) => change((work) => { work.sentiment = name; });

  const setTone = (polarity) => now().aspects[current] && change((work) => { work.aspects[current].polarity = polarity; });

  function nextTone() {
    const tones = Object.keys(TONES);
    const aspect = now().aspects[current];
    if (aspect) setTone(tones[(tones.indexOf(aspect.polarity) + 1) % tones.length]);
  }

  function removeAspect() {
    if (!now().aspects[current]) return;
    const name = nameOf(now().aspects[current].leaf ?? now().aspects[current].category);
    change((work) => work.aspects.splice(current, 1));
    say(`${name} weggehaald. U zet het terug.`);
  }

  function toggleSignal(index) {
    const slug = queue.signals[index]?.slug;
    toggling = false;
    if (!slug) {
      render();
      return;
    }
    const on = !now().signals.includes(slug);
    change((work) => { work.signals = on ? [...work.signals, slug] : work.signals.filter((s) => s !== slug); });
    say(`${nameOf(slug)} ${on ? "aan" : "uit"}.`);
  }

  function moveAspect(step) {
    const n = now().aspects.length;
    if (!n) return;
    // The first press goes to the aspect that is marked already.
    const inList = document.activeElement?.closest?.(".aspect");
    if (inList) current = (current + step + n) % n;
    render();
    focusAspect();
  }

  function focusAspect() {
    const row = main.querySelector(".aspect.current");
    row?.focus({ preventScroll: true });
    row?.scrollIntoView({ block: "nearest" });
    light();
  }

  // ---- pointing at evidence ------------------------------------------------------------------

  const words = (text) => [...text.matchAll(/\S+/gu)].map((m) => [m.index, m.index + m[0].length]);

  function pickRange(it) {
    if (pick.by === "mouse") return { start: pick.start, end: pick.end };
    const [first, last] = [Math.min(pick.anchor, pick.head), Math.max(pick.anchor, pick.head)];
    const [start, end] = [pick.words[first][0], pick.words[last][1]];
    const chosen = it.text.slice(start, end);
    const bare = chosen.replace(/^["'“”‘’(«]+|["'“”‘’)».,;:!?…]+$/gu, "");
    const offset = bare ? chosen.indexOf(bare) : 0;
    return { start: start + offset, end: start + offset + (bare || chosen).length };
  }

  /** Begin to point with the keyboard, at the evidence there is. */
  function point() {
    const it = item();
    const list = words(it.text);
    if (!list.length || busy) return;
    if (!now().aspects.length) {
      say("Voeg eerst een aspect toe (A).");
      return;
    }
    const a = now().aspects[current];
    const touched = a.start === null ? [] : list.map((w, i) => [w, i]).filter(([w]) => w[0] < a.end && a.start < w[1]);
    const [anchor, head] = touched.length ? [touched[0][1], touched.at(-1)[1]] : [0, 0];
    pick = { by: "keys", words: list, anchor, head };
    getSelection().removeAllRanges();
    render();
    main.focus({ preventScroll: true });
    showPick();
  }

  function showPick() {
    main.querySelector(".ev.chosen")?.scrollIntoView({ block: "nearest" });
    const { start, end } = pickRange(item());
    say(`Gekozen: ${item().text.slice(start, end)}`);
  }

  function movePick(to, extend) {
    pick.head = Math.max(0, Math.min(pick.words.length - 1, to));
    if (!extend) pick.anchor = pick.head;
    render();
    showPick();
  }

  /** First word of the sentence before or after. */
  function sentence(step) {
    const text = item().text;
    const begins = (i) => i === 0 || /[.!?…]["'”’)]*$/u.test(text.slice(...pick.words[i - 1])) || /\n/u.test(text.slice(pick.words[i - 1][1], pick.words[i][0]));
    let i = pick.head + step;
    while (i > 0 && i < pick.words.length - 1 && !begins(i)) i += step;
    return i;
  }

  function stopPicking() {
    pick = null;
    getSelection().removeAllRanges();
    render();
  }

  function pickFor(index) {
    if (!now().aspects[index]) return;
    const range = pickRange(item());
    current = index;
    pick = null;
    getSelection().removeAllRanges();
    change((work) => Object.assign(work.aspects[index], range));
    say(`Bewijs voor ${nameOf(now().aspects[index].leaf ?? now().aspects[index].category)} aangewezen.`);
  }

  function pickNew() {
    openSearch(null, pickRange(item()));
  }

  function clearEvidence() {
    pick = null;
    change((work) => Object.assign(work.aspects[current], { start: null, end: null }));
    say("Bewijs weggehaald.");
  }

  function drawPick() {
    const box = h("div", { id: "pick", class: "pick", role: "group", "aria-label": "Bewijs voor", hidden: !pick });
    if (!pick) return box;
    const hint =
      pick.by === "keys"
        ? ["← → woord · ↑ ↓ zin · Shift erbij: langer · Enter: voor ", h("strong", {}, `aspect ${current + 1}`), " · Delete: geen bewijs · Esc: stoppen"]
        : [now().aspects.length ? `Druk op een nummer, of Enter voor aspect ${current + 1} · Esc: stoppen` : "Enter of A: nieuw aspect · Esc: stoppen"];
    const choice = (key, label, act) =>
      h("button", { type: "button", onmousedown: (event) => event.preventDefault(), onclick: act }, h("kbd", { "aria-hidden": "true" }, key), ` ${label}`);
    box.append(
      h("strong", {}, "Bewijs voor …"),
      h(
        "div",
        { class: "choices" },
        now().aspects.map((a, i) => choice(i < 9 ? String(i + 1) : "", `${nameOf(a.leaf ?? a.category)} ${TONES[a.polarity].sign}`, () => pickFor(i))),
        choice("A", "nieuw aspect", pickNew),
      ),
      h("p", { class: "hint" }, hint),
    );
    return box;
  }

  /** Follow the native selection, without redrawing the text under it. */
  function followSelection() {
    const text = $("text");
    if (!item() || !text || pick?.by === "keys" || busy || search) return;
    const selection = getSelection();
    let found = null;
    if (selection.rangeCount && !selection.isCollapsed) {
      const range = selection.getRangeAt(0);
      if (text.contains(range.startContainer) && text.contains(range.endContainer)) {
        const before = range.cloneRange();
        before.selectNodeContents(text);
        before.setEnd(range.startContainer, range.startOffset);
        const chosen = range.toString();
        const start = before.toString().length + chosen.length - chosen.trimStart().length;
        if (chosen.trim()) found = { by: "mouse", start, end: start + chosen.trim().length };
      }
    }
    pick = found;
    $("pick").replaceWith(drawPick());
  }

  document.addEventListener("selectionchange", followSelection);

  // ---- the search box ------------------------------------------------------------------------

  const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

  /** How well a label answers the query; 0 where a word of it is nowhere, unless `some` will do. */
  function score(leaf, query, some = false) {
    const category = queue.categories.find((c) => c.slug === leaf.parent);
    const fields = [
      [leaf.name_nl, 8],
      [leaf.slug.replaceAll("_", " "), 6],
      [leaf.slug, 6],
      [category?.name_nl ?? "", 4],
      [category?.slug ?? "", 4],
      [leaf.definition, 2],
      [leaf.examples.join(" "), 1],
    ];
    let total = 0;
    for (const word of query) {
      let best = 0;
      for (const [field, weight] of fields) {
        const place = ` ${plain(field)}`.indexOf(word);
        const begins = ` ${plain(field)}`.includes(` ${word}`);
        if (place >= 0) best = Math.max(best, begins ? weight * 2 : weight);
      }
      if (!best && !some) return 0;
      total += best;
    }
    return total;
  }

  function openSearch(index, range = null) {
    if (busy || !item()) return;
    const aspect = index === null ? null : now().aspects[index];
    search = { index, range, found: [], active: 0, category: aspect?.category ?? null, leaf: aspect?.leaf ?? null };
    $("search-title").textContent =
      aspect === null ? "Aspect toevoegen" : `Label van aspect ${index + 1}: ${nameOf(aspect.leaf ?? aspect.category)}`;
    $("search-input").value = "";
    $("search").showModal();
    $("search-input").focus();
    find();
  }

  function find() {
    const query = plain($("search-input").value).split(/[\s,]+/u).filter(Boolean);
    const ranked = (rank) =>
      queue.leaves
        .map((leaf) => ({ leaf, score: rank(leaf) }))
        .filter((x) => x.score > 0)
        .sort((x, y) => y.score - x.score)
        .map((x) => x.leaf);
    // Without a query what is near comes first: the rest of the same category.
    if (!query.length) search.found = ranked((leaf) => (leaf.parent === search.category ? 2 : 1));
    else search.found = ranked((leaf) => score(leaf, query));
    if (!search.found.length) search.found = ranked((leaf) => score(leaf, query, true));
    search.active = query.length ? 0 : Math.max(0, search.found.findIndex((leaf) => leaf.slug === search.leaf));
    drawFound();
  }

  function drawFound() {
    const used = now().aspects.filter((_, i) => i !== search.index);
    const options = search.found.map((leaf, i) => {
      const tones = used.filter((a) => a.leaf === leaf.slug).map((a) => TONES[a.polarity].name);
      return h(
        "li",
        { role: "option", id: `option${i}`, "aria-selected": String(i === search.active), "data-slug": leaf.slug, onclick: () => choose(leaf) },
        h("b", {}, leaf.name_nl),
        ` · ${nameOf(leaf.parent)}`,
        tones.length ? ` · staat er al: ${tones.join(", ")}` : "",
        h("p", {}, readable(leaf.definition)),
        leaf.counter_definition ? h("p", { class: "more" }, `Niet: ${readable(leaf.counter_definition)}`) : "",
        leaf.examples.length ? h("p", { class: "more" }, "Bijvoorbeeld: ", h("q", {}, leaf.examples[0])) : "",
      );
    });
    if (!options.length) options.push(h("li", { class: "nothing" }, "Geen label gevonden. Probeer een ander woord, of minder letters."));
    $("search-list").replaceChildren(...options);
    const active = $(`option${search.active}`);
    active?.scrollIntoView({ block: "nearest" });
    if (active) $("search-input").setAttribute("aria-activedescendant", active.id);
    else $("search-input").removeAttribute("aria-activedescendant");
  }

  function choose(leaf) {
    const { index, range } = search;
    $("search").close();
    pick = null;
    getSelection().removeAllRanges();
    if (index === null) {
      current = now().aspects.length;
      const usual = { positief: "pos", neutraal: "neu" }[now().sentiment] ?? "neg";
      const taken = now().aspects.filter((a) => a.leaf === leaf.slug).map((a) => a.polarity);
      const polarity = [usual, ...Object.keys(TONES)].find((tone) => !taken.includes(tone)) ?? usual;
      const evidence = range ?? { start: null, end: null };
      change((work) => work.aspects.push({ category: leaf.parent, leaf: leaf.slug, polarity, ...evidence }));
    } else {
      current = index;
      if (leaf.slug !== now().aspects[index].leaf) {
        change((work) => Object.assign(work.aspects[index], { category: leaf.parent, leaf: leaf.slug, sure: null }));
      }
    }
    focusAspect();
  }

  $("search").addEventListener("close", () => {
    search = null;
    if (document.activeElement === document.body) main.focus({ preventScroll: true });
  });
  $("search-input").addEventListener("input", find);
  $("search-input").addEventListener("keydown", (event) => {
    const n = search.found.length;
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 5, PageUp: -5 };
    if (event.key in steps && n) {
      const step = steps[event.key];
      search.active = Math.abs(step) === 1 ? (search.active + step + n) % n : Math.max(0, Math.min(n - 1, search.active + step));
      drawFound();
    } else if (event.key === "Enter" && !event.isComposing) {
      if (search.found[search.active]) choose(search.found[search.active]);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  });

  // ---- keys ----------------------------------------------------------------------------------

  /** The digit of a key, also where digits need Shift (a Belgian keyboard). */
  function digitOf(event) {
    if (/^\d$/u.test(event.key)) return Number(event.key);
    const match = !event.shiftKey && /^Digit(\d)$/u.exec(event.code);
    return match ? Number(match[1]) : null;
  }

  function pointingKey(event) {
    const shrinks = !event.shiftKey && pick.anchor !== pick.head;
    const moves = {
      // As in any text: without Shift, a piece that is chosen shrinks to its begin or end first.
      ArrowLeft: () => (shrinks ? Math.min(pick.anchor, pick.head) : pick.head - 1),
      ArrowRight: () => (shrinks ? Math.max(pick.anchor, pick.head) : pick.head + 1),
      ArrowUp: () => sentence(-1),
      ArrowDown: () => sentence(1),
      Home: () => 0,
      End: () => pick.words.length - 1,
    };
    if (pick.by === "keys" && event.key in moves) movePick(moves[event.key](), event.shiftKey);
    else if (pick.by === "keys" && ["Delete", "Backspace"].includes(event.key)) clearEvidence();
    else if (event.key === "Escape") stopPicking();
    else if (event.key === "Enter" || event.key.toLowerCase() === "b") now().aspects.length ? pickFor(current) : pickNew();
    else if (event.key.toLowerCase() === "a") pickNew();
    else if (digitOf(event) !== null) pickFor(digitOf(event) - 1);
    else return pick.by === "keys"; // nothing else while the keys point
    return true;
  }

  const keys = {
    Enter: actions.accept,
    ArrowRight: actions.skip,
    o: actions.skip,
    ArrowLeft: actions.back,
    u: actions.undo,
    ArrowDown: () => moveAspect(1),
    ArrowUp: () => moveAspect(-1),
    p: nextTone,
    "-": () => setTone("neg"),
    "+": () => setTone("pos"),
    "=": () => setTone("pos"),
    x: removeAspect,
    Delete: removeAspect,
    l: () => (now().aspects.length ? openSearch(current) : openSearch(null)),
    b: point,
    a: () => openSearch(null),
    s: () => {
      if (!queue.signals.length) return;
      toggling = !toggling;
      render();
      say(toggling ? "Druk op het cijfer van het signaal." : "");
    },
    r: () => $("remark").focus(),
    PageDown: () => scrollAnswer(1),
    PageUp: () => scrollAnswer(-1),
    Escape: () => {
      toggling = false;
      render();
      main.focus({ preventScroll: true });
    },
  };
  /** A long answer has a scroll bar of its own beside the aspects. */
  function scrollAnswer(step) {
    const left = main.querySelector(".left");
    const own = left.scrollHeight > left.clientHeight + 1;
    if (own) left.scrollBy(0, step * left.clientHeight * 0.8);
    else scrollBy(0, step * innerHeight * 0.8);
  }

  const anywhere = new Set(["Enter", "ArrowLeft", "u"]); // these do something at the end too

  document.addEventListener("keydown", (event) => {
    if (event.isComposing || document.querySelector("dialog[open]")) return;
    if (busy) {
      if (event.key === "Enter" && !event.repeat) retryNow?.();
      return;
    }
    if (!queue) return;
    if (event.target.id === "remark") {
      if (event.key === "Escape" || (event.key === "Enter" && !event.shiftKey)) {
        event.preventDefault();
        main.focus({ preventScroll: true });
        if (event.ctrlKey || event.metaKey) actions.accept();
      }
      return;
    }
    if (event.altKey) return;
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey || event.metaKey) {
      if (name === "z" && !event.shiftKey) {
        event.preventDefault();
        if (pick) stopPicking();
        actions.undo();
      }
      return;
    }
    if (name === "?") {
      event.preventDefault();
      $("help").showModal();
      return;
    }
    // On a button that was reached with Tab, Enter presses that button.
    if (name === "Enter" && event.target.closest("button")) return;
    // A key that is held down must not accept one answer after another.
    if (event.repeat && !name.startsWith("Arrow")) return;
    if (event.repeat && !pick && ["ArrowLeft", "ArrowRight"].includes(name)) return;
    if (pick && item()) {
      if (pointingKey(event)) event.preventDefault();
      if (event.defaultPrevented || !pick || pick.by === "keys") return;
    }
    if (event.shiftKey && name.startsWith("Arrow")) return; // the browser's own selection
    const digit = digitOf(event);
    if (item() && toggling && digit) toggleSignal(digit - 1);
    else if (item() && digit && digit <= 4) setSentiment(SENTIMENTS[digit - 1]);
    else if (item() && digit === 0) setTone("neu");
    else if (keys[name] && (item() || anywhere.has(name))) keys[name]();
    else return;
    event.preventDefault();
  });

  for (const button of document.querySelectorAll("[data-do]")) {
    button.addEventListener("click", (event) => {
      if (event.detail) main.focus({ preventScroll: true });
      actions[button.dataset.do]();
    });
  }
  $("help-button").addEventListener("click", () => $("help").showModal());
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }
  addEventListener("beforeunload", (event) => busy && event.preventDefault());
  addEventListener("hashchange", () => {
    remember();
    busy = false; // what was on its way is kept, so the page may go
    location.reload();
  });
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && refresh());

  // ---- begin ---------------------------------------------------------------------------------

  async function begin() {
    const kept = read();
    const { status, data } = await request("api/queue");
    if (status !== 200) return;
    queue = data;
    items = data.items.map((it) => ({ ...it, starts: unitStarts(it.text) }));
    const byKey = new Map(items.map((it, i) => [it.key, i]));
    for (const [key, work] of kept.drafts ?? []) if (byKey.has(key)) drafts.set(key, { now: work, past: [] });
    for (const key of kept.skipped ?? []) if (byKey.has(key)) skipped.add(key);
    const place = byKey.get(kept.sending?.key ?? kept.at);
    at = -1;
    const resume = place !== undefined && (isOpen(items[place]) || kept.sending || isChanged(items[place]));
    show(resume ? place : next());
    if (kept.sending && resume) save(kept.sending.replaces); // it was on its way when the page went
  }

  begin();
})();
