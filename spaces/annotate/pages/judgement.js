// The judgement of one claim: a slider that is unset at first, what informed it, a note. Calls `save` with the answer.
const judgement = (view, save, back) => {
  const explained = Boolean(view.feedback);
  const answer = explained ? view.answer : restore(view) || { ...blank, ...view.answer };

  const slider = make("input", {
    type: "range", min: "0", max: "100", step: "1", disabled: explained, "aria-labelledby": "claim probability",
  });
  const number = make("input", {
    type: "text", inputmode: "numeric", maxlength: "3", placeholder: "–", autocomplete: "off", disabled: explained,
    "aria-label": "Probability in per cent",
  });
  const meaning = make("p", { class: "meaning" });
  const track = make("div", { class: "track" }, slider);
  const status = make("p", { class: "status", role: "status" });

  const rangeOf = (value) =>
    view.scale.find((range) => (range.low === range.high ? value === range.low : value >= range.low));
  const changed = () => {
    const unsaved = !explained && keep(view, answer);
    status.textContent = unsaved && view.answer ? "You have changed this answer and not saved it yet." : "";
  };
  const set = (value, typed = false) => {
    answer.probability = value;
    track.classList.toggle("unset", value === null);
    slider.value = value === null ? 50 : value;
    track.style.setProperty("--at", `${value === null ? 0 : value}%`);
    slider.setAttribute("aria-valuetext", value === null ? "not set" : `${value} per cent, ${rangeOf(value).name}`);
    if (!typed) number.value = value === null ? "" : value;
    meaning.replaceChildren(
      ...(value === null
        ? ["Not set yet: drag, tap the line, or type a number."]
        : [make("strong", {}, rangeOf(value).name), ` ${rangeOf(value).meaning}`]),
    );
    changed();
  };
  // A slider without a value has nowhere to move from: its first step enters from the end that lies behind it.
  slider.addEventListener("keydown", (event) => {
    const entering = { ArrowRight: 0, ArrowUp: 0, PageUp: 0, Home: 0, ArrowLeft: 100, ArrowDown: 100, PageDown: 100, End: 100 };
    if (answer.probability === null && event.key in entering) {
      event.preventDefault();
      set(entering[event.key]);
    }
  });
  slider.addEventListener("input", () => set(Number(slider.value)));
  // A tap right at the middle moves nothing, and is an answer all the same; by touch there is no click then.
  for (const tap of ["click", "pointerup"]) slider.addEventListener(tap, () => explained || set(Number(slider.value)));
  number.addEventListener("input", () => {
    number.value = number.value.replace(/\D/g, "");
    const value = Number(number.value);
    set(number.value !== "" && value <= 100 ? value : null, true);
  });

  const boxes = {};
  const tick = () => {
    const chosen = view.senses.filter((sense) => boxes[sense].checked);
    answer.evidence = chosen.length || boxes.none.checked ? chosen : null;
    changed();
  };
  const choice = (name, [label, , key]) => {
    boxes[name] = make("input", {
      type: "checkbox", disabled: explained,
      checked: answer.evidence !== null && (name === "none" ? !answer.evidence.length : answer.evidence.includes(name)),
      onchange: () => {
        for (const [other, box] of Object.entries(boxes)) {
          if (boxes[name].checked && other !== name && (name === "none" || other === "none")) box.checked = false;
        }
        tick();
      },
    });
    return make("label", {}, boxes[name], make("span", {}, label, make("kbd", { "aria-hidden": "true" }, key)));
  };
  const evidence = make(
    "fieldset",
    { class: "evidence" },
    make("legend", {}, "What informed you?"),
    ...view.senses.map((sense) => choice(sense, senseOf(sense, view.parts))),
    choice("none", [view.parts.length > 1 ? "Nothing in any of it" : `Nothing in the ${kindOfView(view)}`, "", "n"]),
  );
  const note = make("textarea", { rows: "2", maxlength: "2000", "aria-label": "Note", oninput: () => {
    answer.note = note.value;
    changed();
  } });
  note.value = answer.note || "";
  const noted = unfolding("Add a note", note);
  noted.open = Boolean(answer.note);

  const story = view.context && unfolding("Background story", make("p", { dir: "auto" }, view.context));
  const submit = () => {
    if (answer.probability === null) {
      status.textContent = "Set the slider first: any whole number from 0 to 100.";
      return slider.focus();
    }
    if (answer.evidence === null) {
      status.textContent = "Say what informed your judgement, or that nothing did.";
      return boxes[view.senses[0]].focus();
    }
    return save(answer, submit);
  };
  const main = button(view.page === "training" ? "Check" : "Save and go on", submit, "main", "Enter");

  const parts = [
    make("h1", { class: "claim", id: "claim", dir: "auto" }, view.claim),
    story,
    make("div", { class: "value" }, make("span", { class: "ask", id: "probability" }, "How probable is it?"), number, make("span", {}, "%")),
    track,
    make("div", { class: "ticks", "aria-hidden": "true" }, ...[0, 20, 40, 60, 80, 100].map((n) => make("span", {}, `${n}`))),
    meaning,
    evidence,
    view.page === "training" ? null : noted,
    explained ? null : make("div", { class: "actions" }, back, main),
    status,
  ];
  const keys = (event) => {
    if (event.ctrlKey && event.key === "Enter") return submit();
    if (event.target === note || event.ctrlKey || event.metaKey || event.altKey) return null;
    const sense = Object.entries(boxes).find(([name]) => (name === "none" ? "n" : senseOf(name, view.parts)[2]) === event.key);
    if (sense) sense[1].click();
    else if (/^\d$/.test(event.key) && event.target !== number) {
      number.value = "";
      number.focus();
      return null;
    } else if (event.key === "Enter" && !["BUTTON", "SUMMARY", "A"].includes(event.target.tagName)) submit();
    else if (event.key === "b" && story) story.open = !story.open;
    else return null;
    return event.preventDefault();
  };
  set(answer.probability);
  if (explained) track.append(make("div", { class: "reference", style: `--low: ${view.feedback.low / 100}; --high: ${view.feedback.high / 100}` }));
  return { parts, keys: explained ? () => null : keys, focus: slider, status };
};
