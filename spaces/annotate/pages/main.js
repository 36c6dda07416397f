// What ties the pages together: sends what was done, shows what comes back, keeps what is not sent yet.
const root = element.querySelector(".annotate");
const PATIENCE = 15000;
let shown = null;
let waiting = null;
let sent = null;
let keyboard = () => null;
let say = () => null;
let focusOn = null;
let notice = null;

// What was set and is not saved outlives a reload of this tab, and whatever else is looked at in it in between.
const blank = { probability: null, evidence: null, note: null };
const meant = ({ probability, evidence, note }) => JSON.stringify([probability, evidence && [...evidence].sort(), (note || "").trim()]);
const place = ({ user, page, id }) => `annotate/${user}/${page}/${id}`;
const restore = (view) => JSON.parse(sessionStorage.getItem(place(view)));
// Keeps an answer if it differs from the one that is saved, and tells whether it does.
const keep = (view, answer) => {
  premise.again = null;
  const unsaved = meant(answer) !== meant(view.answer || blank);
  if (unsaved) sessionStorage.setItem(place(view), JSON.stringify(answer));
  else sessionStorage.removeItem(place(view));
  return unsaved;
};
const placeOf = (id) => place({ user: shown.user, page: "item", id });
const unsavedItems = () => Object.keys(sessionStorage).filter((key) => key.startsWith(placeOf(""))).map((key) => key.slice(placeOf("").length));
window.addEventListener("beforeunload", (event) => {
  // A browser does not tell a reload, which loses nothing, from the end of the tab.
  if (shown && unsavedItems().length) event.preventDefault();
});

const free = () => {
  clearTimeout(waiting);
  waiting = null;
  root.removeAttribute("aria-busy");
};
const send = (action, data) => {
  if (waiting) return;
  root.setAttribute("aria-busy", "true");
  waiting = setTimeout(() => {
    free();
    say("The server does not answer, so this is not saved yet. Try again; if it goes on, reload the page: what you set stays.");
  }, PATIENCE);
  // What is changed from here on is not part of it.
  sent = { id: data.id, kept: sessionStorage.getItem(placeOf(data.id)) };
  trigger(action, structuredClone(data));
};

const head = (view) => {
  const { judged, total } = view.progress || {};
  const unsaved = unsavedItems().filter((id) => view.page !== "item" || id !== view.id);
  return make(
    "header",
    {},
    make("span", { class: "brand" }, "Annotate"),
    view.progress ? bar(judged, total, "Your progress") : make("span", { class: "bar-space" }),
    view.progress ? make("span", { class: "count" }, `${judged} of ${total}`) : null,
    unsaved.length ? button(`${unsaved.length} not saved`, () => send("open", { id: unsaved[0] }), "unsaved") : null,
    make("span", { class: "user" }, view.user),
    ["item", "training", "done"].includes(view.page) ? button("Instructions", () => send("instructions", {})) : null,
    make("a", { href: "logout", class: "quiet" }, "Log out"),
  );
};

const PAGES = { instructions, training, item, done, organiser };
const show = () => {
  const view = props.value;
  if (!view) return;
  free();
  if (view.page === "message") {
    say(view.message);
    if (!view.gone) return;
    sessionStorage.removeItem(placeOf(sent.id));
    notice = view.message;
    send("resume", {});
    return;
  }
  if (view.saved && sessionStorage.getItem(placeOf(view.saved)) === sent.kept) sessionStorage.removeItem(placeOf(view.saved));
  if (view.files) download(view.files);
  const before = shown;
  shown = view;
  keyboard = () => null;
  say = () => null;
  focusOn = null;
  root.replaceChildren(head(view), PAGES[view.page](view));
  document.title = view.page === "item" ? `${view.number} of ${view.progress.total} · Annotate` : "Annotate";
  if (notice) say(notice);
  notice = null;
  if (focusOn) focusOn.focus({ preventScroll: true });
  if (!before || before.page !== view.page || before.id !== view.id) window.scrollTo(0, 0);
  else if (view.feedback) root.querySelector(".feedback").scrollIntoView({ block: "end" });
};

document.addEventListener("keydown", (event) => {
  if (shown && !waiting) keyboard(event);
});
setInterval(() => {
  if (shown && shown.page === "organiser" && !document.hidden && !root.querySelector("table button:focus")) send("overview", {});
}, 10000);
watch("value", show);
show();
