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
const senseOf = (sense, parts) => {
  const texts = parts.filter((part) => part.text).length;
  if (sense !== "text" || !texts) return SENSES[sense];
  return texts === parts.length ? ["The text", "the text", "t"] : ["Read", "what is read", "t"];
};
const KINDS = { text: "text", image: "picture", audio: "recording", video: "video", audiovisual: "video" };
// What a premise is called by the modalities of its parts: "text with picture, recording and video".
const kindOf = (modalities) => {
  const [first, ...others] = new Set(modalities.map((modality) => KINDS[modality]));
  const last = others.pop();
  return last ? `${first} with ${others.length ? `${others.join(", ")} and ${last}` : last}` : first;
};
const kindOfView = (view) => kindOf(view.parts.map((part) => part.modality));
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
