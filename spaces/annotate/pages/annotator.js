// The annotators' pages: instructions, training, items, the end.
let premise = null;
const premiseOf = (view) => {
  const source = JSON.stringify(view.parts);
  // Claims about one clip follow each other: it stays as it is, at the second where it is. One that failed is tried anew.
  if (premise && premise.source === source && (!premise.failed || view.unplayed)) premise.again = null;
  else premise = premiseOfParts(view.parts, source);
  return premise;
};
const FAILURES = {
  broken: "can't be played here: this browser does not know its kind, or the file is damaged or gone",
  unshown: "can't be shown here: this browser does not know its kind, or the file is damaged or gone",
  network: "did not load to its end",
  picture: "shows no picture here: this browser does not know its kind",
  sound: "has no sound here: this browser does not know its kind, or there is none in it",
};
// What its maker calls it, in Chromium, in Firefox, in Safari; a browser that tells nothing is trusted.
const soundOf = (clip) => clip.webkitAudioDecodedByteCount ?? clip.mozHasAudio ?? clip.audioTracks?.length ?? true;
const premiseOfParts = (parts, source) => {
  const told = make("div", { class: "warning", role: "alert", hidden: true });
  // `awaited` has the files that are on their way.
  const made = { source, told, awaited: new Set(), players: [], failed: null, again: null };
  const fail = (part, why) => {
    if (premise !== made || made.failed) return;
    made.failed = why;
    told.hidden = false;
    told.append(`The ${KINDS[part.modality]} ${FAILURES[why]}. No judgement is taken of what could not be seen and heard. Try again, or in another browser. `);
    if (shown.page !== "item") return;
    told.append(button("Try again", () => send("open", { id: shown.id })));
    send("unplayed", { id: shown.id, why });
  };
  const arrive = (file) => {
    made.awaited.delete(file);
    if (made.again && !made.awaited.size) made.again();
  };
  made.shown = parts.map((part) => {
    if (part.text) return make("blockquote", { dir: "auto" }, part.text);
    const file = (part.modality === "image" ? picture : player)(part, (why) => fail(part, why), arrive);
    made.awaited.add(file);
    if (file.play) made.players.push(file);
    return file;
  });
  return made;
};
const picture = (part, fail, arrive) => {
  const image = make("img", { src: part.file, alt: "The picture" });
  image.addEventListener("error", () => fail("unshown"));
  image.addEventListener("load", () => arrive(image));
  return image;
};
const player = (part, fail, arrive) => {
  const clip = make(part.modality === "audio" ? "audio" : "video", {
    src: part.file, controls: true, preload: "auto", playsinline: true, muted: part.modality === "video",
    "aria-label": part.modality === "audio" ? "The recording" : "The video",
  });
  clip.addEventListener("error", () => fail(clip.error.code === MediaError.MEDIA_ERR_NETWORK ? "network" : "broken"));
  // The first picture and sound have been decoded now. A track that a browser can't decode is passed over without an error.
  clip.addEventListener("loadeddata", () => {
    if (part.modality !== "audio" && !clip.videoWidth) return fail("picture");
    if (part.modality !== "video" && !soundOf(clip)) return fail("sound");
    return arrive(clip);
  });
  return clip;
};
// Whether the premise was there to be judged; if it is only on its way, `again` is called when it has come.
const judgeable = (again) => {
  if (premise.failed) say("No judgement is taken of what could not be played or shown.");
  else if (premise.awaited.size) {
    say("This is saved when the clip has loaded. If it does not load by itself, play it.");
    premise.again = again;
  }
  return !premise.awaited.size && !premise.failed;
};
const playOrPause = (event) => {
  // Of several the one that plays, or else the first that has not ended.
  const players = premise ? premise.players : [];
  const clip = players.find((one) => !one.paused) || players.find((one) => !one.ended) || players[0];
  const busy = ["BUTTON", "SUMMARY", "TEXTAREA", "VIDEO", "AUDIO", "A"].includes(event.target.tagName) || event.target.type === "checkbox";
  if (event.key !== " " || busy || !clip) return;
  event.preventDefault();
  if (clip.paused) clip.play();
  else clip.pause();
};

const hint = (view, back) =>
  make("p", { class: "keys" }, "Keys: type a number or use the arrows · ", view.senses.map((s) => senseOf(s, view.parts)[2]).join(", "), ", n for what informed you · Enter saves", back ? " · p goes back" : "", premise.players.length ? " · Space plays" : "", view.context ? " · b for the story" : "");

const judging = (view, kicker, save, back, after = null) => {
  const { shown: shownPremise, told } = premiseOf(view);
  const card = judgement(view, save, back);
  keyboard = (event) => {
    playOrPause(event);
    if (!event.defaultPrevented) card.keys(event);
    if (!event.defaultPrevented && event.key === "p" && back && event.target.tagName !== "TEXTAREA") back.click();
    if (!event.defaultPrevented && event.key === "Enter" && after && event.target.tagName !== "BUTTON") after.click();
  };
  say = (text) => { card.status.textContent = text; };
  focusOn = card.focus;
  return make(
    "div",
    { class: "page judging" },
    make("section", { class: `premise ${view.parts.length > 1 ? "several" : view.parts[0].modality}`, "aria-label": `The ${kindOfView(view)}` }, view.topic ? make("p", { class: "topic" }, view.topic) : null, ...shownPremise, told),
    make("section", { class: "card", "aria-label": "Judgement" }, ...[kicker, ...card.parts, feedbackOf(view, after), view.feedback ? null : hint(view, back)].filter((part) => part)),
  );
};

const feedbackOf = (view, after) => {
  if (!view.feedback) return null;
  const { fits, same_evidence, evidence, why } = view.feedback;
  const named = evidence.map((sense) => senseOf(sense, view.parts)[1]).join(" and ");
  return make(
    "div",
    { class: `feedback ${fits ? "fits" : "differs"}`, role: "status" },
    make("strong", {}, fits ? "Yes." : `We would say ${rangeText(view.feedback)}.`),
    ` ${why}`,
    same_evidence ? null : make("p", {}, `What informed us: ${named || "nothing in it"}.`),
    make("div", { class: "actions" }, after),
  );
};

const item = (view) => {
  const place = view.beside.findIndex((other) => other.id === view.id);
  const kicker = make(
    "nav",
    { class: "kicker", "aria-label": "Claims about this premise" },
    make("span", {}, `Claim ${place + 1} of ${view.beside.length} about this ${kindOfView(view)}`),
    make("span", { class: "dots" }, ...view.beside.map((other, n) =>
      make("button", {
        type: "button", class: other.judged ? "judged" : "", "aria-current": other.id === view.id ? "step" : null,
        "aria-label": `Claim ${n + 1}, ${other.judged ? "judged" : "not judged"}`, title: `Claim ${n + 1}`,
        onclick: () => send("open", { id: other.id }),
      }))),
  );
  const back = button("Back", () => send("open", { id: view.previous }));
  back.disabled = !view.previous;
  const page = judging(view, kicker, (answer, again) => judgeable(again) && send("judge", { id: view.id, answer }), back);
  // A clip that could not be played is passed over.
  const next = view.unplayed ? () => send("resume", {}) : view.next && (() => send("open", { id: view.next }));
  if (next) page.querySelector(".actions").lastChild.before(button("Next", next));
  return page;
};

const training = (view) => {
  const kicker = make("p", { class: "kicker" }, `Training ${view.number} of ${view.total}`);
  const after = view.feedback ? button(view.number === view.total ? "Begin" : "Next", () => send("trained", { id: view.id }), "main", "Enter") : null;
  const page = judging(view, kicker, (answer) => send("train", { answer }), null, after);
  if (after) focusOn = after;
  return page;
};

const instructions = (view) => {
  const kinds = [...new Set(view.kinds.map(kindOf))];
  const kind = kinds.join(" or ");
  const begin = button(view.progress.judged ? "Go on" : "Begin", () => send("begin", {}), "main", "Enter");
  keyboard = (event) => { if (event.key === "Enter" && !["BUTTON", "A"].includes(event.target.tagName)) begin.click(); };
  const paragraph = (...text) => make("p", {}, ...text);
  return make(
    "div",
    { class: "page reading" },
    make("h1", {}, "How probable is the claim?"),
    paragraph(`You get a ${kind} and claims about it, one after the other. For each claim ask: is it true, going by this ${kind}? Your answer is a probability from 0 to 100 %.`),
    make("h2", {}, "What the numbers mean"),
    scaleTable(view.scale),
    paragraph("Any whole number is fine. Where you hesitate between two ranges, take the lower. A claim that sounds likely by itself gains nothing by that: what counts is the evidence before you."),
    make("h2", {}, "How to go about it"),
    make("ol", {},
      make("li", {}, "Read the background story, if there is one: unfold it under the claim."),
      make("li", {}, kind === "text" ? "Read the whole text." : `Go through the whole ${kind}, as often as you like: people, things, places, speech, sounds, and any writing.`),
      make("li", {}, "Judge each claim by itself."),
      make("li", {}, "Say what informed you: everything that moved your number up or down. If nothing did, say so."),
    ),
    make("h2", {}, "What you may know and look up"),
    paragraph("Use what people generally know of the world. Take the event as happening now, as if its end were not known yet. You may look up what makes you surer of the surroundings, but nothing that answers the claim itself."),
    make("ul", {},
      make("li", {}, "About a fire in a cathedral, you may look up what gothic means or where the city lies, but not how much was donated afterwards."),
      make("li", {}, "About an election, you may look up who the candidates are, but not who won."),
      make("li", {}, "About a storm, you may look up a map of the islands, but not a map of the storm's path."),
    ),
    make("h2", {}, "Good to know"),
    paragraph("The slider has no value until you give it one. Each answer that you save is kept at once; you can go back and change it, and come back at any time. What you set and have not saved stays in this tab alone. Nobody else sees your answers but the organiser. Everything works from the keyboard; the keys stand under each claim."),
    make("div", { class: "actions" }, begin),
  );
};

const done = (view) => {
  const back = view.last && button("Look at my answers again", () => send("open", { id: view.last }));
  const left = view.progress.total - view.progress.judged;
  const answers = `${left ? "" : "All "}${view.progress.judged} of your answers are kept.`;
  const ending = left
    ? `${left} of your claims are left: their clips could not be played for you. Try them in another browser, or tell the organiser.`
    : "If something is given on to you later, it appears here.";
  return make(
    "div",
    { class: "page reading done" },
    make("h1", {}, view.progress.total ? (left ? "That was all that could be played." : "That was everything. Thank you.") : "There is nothing for you yet."),
    make("p", {}, view.progress.total ? `${answers} ${ending}` : "The organiser may add items later."),
    make("div", { class: "actions" }, back || "", left ? button("Try the clips again", () => send("open", { id: view.unplayed })) : "", button("Look for more", () => send("resume", {}))),
  );
};
