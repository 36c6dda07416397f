() => {
  const answers = document.getElementById("answers");
  document.documentElement.lang = "en";
  // A screen reader hears the answers when they come.
  answers.setAttribute("role", "status");
  answers.setAttribute("aria-live", "polite");

  const players = {
    video: () => document.querySelector("#video video"),
    // Gradio keeps what plays a sound in the shadow tree of its waveform.
    sound: () => [...document.querySelectorAll("#sound *")].map((e) => e.shadowRoot?.querySelector("audio")).find(Boolean),
  };
  const cursors = () => answers.querySelectorAll(".curve input");

  const moveTo = (time) => {
    for (const cursor of cursors()) {
      cursor.value = time;
      // A player stands a little before the time it was sent to.
      const passed = JSON.parse(cursor.dataset.times).filter((point) => point <= Number(cursor.value) + 0.001).length;
      const reading = JSON.parse(cursor.dataset.readings)[passed];
      cursor.setAttribute("aria-valuetext", reading);
      cursor.closest(".curve").querySelector(".moment").textContent = reading;
    }
  };

  // The answers whose cursors follow a player, what it played when they came, and where it stood last.
  let shown, source, stood;
  const player = () => {
    const found = players[shown?.dataset.player]?.();
    source ||= found?.currentSrc;
    // Another clip may have taken its place: the answers are not about that one.
    return found?.currentSrc === source ? found : undefined;
  };
  const follow = () => {
    requestAnimationFrame(follow);
    const [first] = cursors();
    if (first !== shown) {
      [shown, source] = [first, ""];
      stood = player()?.currentTime;
    }
    const now = player()?.currentTime;
    if (now === undefined || now === stood) return;
    // A player that has only now got its clip has not moved.
    if (stood !== undefined) moveTo(now);
    stood = now;
  };
  follow();

  answers.addEventListener("input", (event) => {
    const time = Number(event.target.value);
    moveTo(time);
    const playing = player();
    if (playing) playing.currentTime = time;
  });
}
