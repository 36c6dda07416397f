// The organiser's page: how far everybody is, how far they agree, giving on, the export.
const ago = (seconds) => {
  const minutes = Math.max(0, (Date.now() / 1000 - seconds) / 60);
  if (minutes < 2) return "now";
  if (minutes < 120) return `${Math.floor(minutes)} min ago`;
  return minutes < 2880 ? `${Math.floor(minutes / 60)} h ago` : `${Math.floor(minutes / 1440)} days ago`;
};
const several = (count, thing) => `${count} ${thing}${count === 1 ? "" : "s"}`;
const whereabouts = (one) => {
  if (!one.present) return "given on";
  return one.instructed ? ago(one.seen) : "not begun";
};
const bar = (part, whole, label) =>
  make("div", { class: "bar", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": `${whole}`, "aria-valuenow": `${part}`, "aria-label": label },
    make("div", { style: `width: ${whole ? (100 * part) / whole : 0}%` }));

const figure = (title, value, detail) =>
  make("div", { class: "figure" }, make("span", {}, title), make("strong", {}, value), make("small", {}, detail));
const alphaFigure = (title, alpha) =>
  figure(title, alpha.value === null ? "–" : alpha.value.toFixed(3), alpha.reason || `over ${several(alpha.items, "item")} with two or more judges`);

const person = (one) => {
  let sure = false;
  const give = button("Give on", () => {
    if (sure) return send("reassign", { annotator: one.annotator });
    sure = true;
    give.textContent = "Give on what is left?";
    return null;
  });
  give.disabled = !one.present || one.judged === one.assigned;
  return make("tr", {},
    make("th", { scope: "row" }, one.annotator),
    make("td", {}, bar(one.judged, one.assigned, `${one.annotator}'s progress`)),
    make("td", { class: "count" }, `${one.judged} of ${one.assigned}`),
    make("td", {}, whereabouts(one)),
    make("td", {}, give));
};

const organiser = (view) => {
  keyboard = () => null;
  const column = (title) => make("th", { scope: "col" }, title);
  return make(
    "div",
    { class: "page dashboard" },
    make("h1", {}, "How it stands"),
    view.short ? make("p", { class: "warning" }, `Each item wants ${several(view.per_item, "judge")}: ${several(view.short, "more annotator")} must come.`) : null,
    make("div", { class: "figures" },
      figure("Items complete", `${view.complete} of ${view.items}`, `${view.pilot} in the pilot set, ${several(view.per_item, "judge")} each for the rest`),
      figure("Judgements", `${view.judgements}`, "kept on disk"),
      alphaFigure("Krippendorff's α, pilot", view.pilot_alpha),
      alphaFigure("Krippendorff's α, all", view.alpha)),
    ...view.unplayed.map((text) => make("p", { class: "warning" }, text)),
    view.warning ? make("pre", { class: "warning" }, view.warning) : null,
    make("div", { class: "table" }, make("table", {},
      make("thead", {}, make("tr", {}, ...["Annotator", "Progress", "Judged", "Last here", "What is left"].map(column))),
      make("tbody", {}, ...view.people.map(person)))),
    make("div", { class: "actions" }, button("Look again", () => send("overview", {})), button("Export", () => send("export", {}), "main")),
    make("p", { class: "keys" }, "The export is judgements.jsonl, which python -m datasets_scripts.annotations reads, and pilot.txt for its --items."),
  );
};

const download = (files) => {
  for (const [name, text] of Object.entries(files)) {
    const address = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
    make("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
  }
};
