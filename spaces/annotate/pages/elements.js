// Elements of a page. Text only ever becomes text: nothing that comes from a dataset or a person is read as HTML.
const make = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && typeof value === "boolean") made[name] = value;
    else if (value !== null && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
};

const button = (text, onclick, kind = "quiet", key = null) =>
  make("button", { type: "button", class: kind, onclick }, text, key && make("kbd", { "aria-hidden": "true" }, key));

const unfolding = (title, ...children) => make("details", {}, make("summary", {}, title), ...children);

const SENSES = {
  video: ["Seen", "what is seen", "v"],
  audio: ["Heard", "what is heard", "a"],
  text: ["Writing", "writing on the screen", "t"],
};
const senseOf = (sense, modality) => (modality === "text" ? ["The text", "the text", "t"] : SENSES[sense]);
const KINDS = { text: "text", audio: "recording", video: "video", audiovisual: "video" };
const rangeText = ({ low, high }) => (low === high ? `${low} %` : `${low}–${high} %`);

const scaleTable = (scale) =>
  make(
    "dl",
    { class: "scale" },
    ...scale.flatMap((range) => [
      make("dt", {}, rangeText(range)),
      make("dd", {}, make("strong", {}, range.name), ` ${range.meaning}`),
    ]),
  );
