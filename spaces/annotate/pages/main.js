// What ties the pages together: sends what was done, shows what comes back, keeps what is not sent yet.
const root = element.querySelector(".annotate");
const PATIENCE = 15000;
let shown = null;
let waiting = null;
let keyboard = () => null;
let say = () => null;
let focusOn = null;
let notice = null;

// What was set and not saved yet outlives a reload of this tab: the server may go away at any moment.
const place = (view) => `annotate/${view.user}/${view.page}/${view.id}`;
const keep = (view, answer) => sessionStorage.setItem(place(view), JSON.stringify(answer));
const restore = (view) => JSON.parse(sessionStorage.getItem(place(view)));

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
  trigger(action, data);
};

const head = (view) => {
  const { judged, total } = view.progress || {};
  return make(
    "header",
    {},
    make("span", { class: "brand" }, "Annotate"),
    view.progress ? bar(judged, total, "Your progress") : make("span", { class: "bar-space" }),
    view.progress ? make("span", { class: "count" }, `${judged} of ${total}`) : null,
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
    notice = view.message;
    send("resume", {});
    return;
  }
  if (view.saved !== undefined) sessionStorage.removeItem(`annotate/${view.user}/item/${view.saved}`);
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
