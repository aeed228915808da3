// How a recording comes in: chosen, dropped or recorded.

import { announce, byId, clock } from "./dom.js";
import { MAX_SECONDS, Recorder, whyNoRecording } from "./recorder.js";

/** `onFile(file)` gets each recording, `onTrouble(message)` the errors of the microphone. */
export function setUpIntake({ onFile, onTrouble }) {
  const input = byId("file");
  input.addEventListener("change", () => {
    const [file] = input.files;
    // So that the same file can be chosen again.
    input.value = "";
    if (file) onFile(file);
  });
  setUpMicrophone(onFile, onTrouble);
}

/** Files dropped anywhere; `onFile(file)` gets the first. */
export function setUpDrop(onFile) {
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0;
  const mark = (change) => {
    depth = change === 0 ? 0 : depth + change;
    document.body.classList.toggle("dropping", depth > 0);
  };
  addEventListener("dragenter", (event) => hasFiles(event) && mark(1));
  addEventListener("dragleave", (event) => hasFiles(event) && mark(-1));
  addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    mark(0);
    if (!hasFiles(event)) return;
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) onFile(file);
  });
}

function setUpMicrophone(onFile, onTrouble) {
  let recorder = null;
  const [start, panel] = [byId("record"), byId("recording")];
  const why = whyNoRecording();
  start.disabled = why !== "";
  start.title = why;

  const show = (recording) => {
    panel.hidden = !recording;
    byId("drop").classList.toggle("is-recording", recording);
    (recording ? byId("record-stop") : start).focus();
  };
  const piece = ({ seconds, level }) => {
    byId("recording-time").textContent = clock(seconds);
    // Decibels from -60 to 0 over the whole width.
    const share = 1 + Math.log10(Math.max(level, 1e-3)) / 3;
    byId("level").style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
    if (seconds >= MAX_SECONDS) finish();
  };
  const finish = async () => {
    const finished = recorder;
    recorder = null;
    if (!finished) return;
    const file = await finished.stop();
    show(false);
    onFile(file);
  };

  start.addEventListener("click", async () => {
    start.disabled = true;
    try {
      recorder = await Recorder.start(piece);
      show(true);
      announce("Recording");
    } catch (error) {
      onTrouble(`The microphone could not be used: ${error.message}`);
    } finally {
      start.disabled = false;
    }
  });
  byId("record-stop").addEventListener("click", finish);
  byId("record-discard").addEventListener("click", () => {
    recorder?.discard();
    recorder = null;
    show(false);
    announce("Recording discarded");
  });
}
