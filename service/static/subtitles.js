// Segments as subtitles, exactly as the service writes them.

export function vtt(segments) {
  const cues = segments.map((one) => `${time(one.start, ".")} --> ${time(one.end, ".")}\n${escaped(line(one.caption))}\n`);
  return ["WEBVTT\n", ...cues].join("\n");
}

export function srt(segments) {
  return segments
    .map((one, n) => `${n + 1}\n${time(one.start, ",")} --> ${time(one.end, ",")}\n${unmarked(line(one.caption))}\n`)
    .join("\n");
}

// An empty line would end a cue, and a cue of nothing is an error.
const line = (text) => text.split(/\s+/).filter(Boolean).join(" ") || "…";

// In a cue of WebVTT these would be markup; SubRip knows no escapes.
const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const lookAlikes = { "<": "‹", ">": "›", "{": "｛", "}": "｝", "\\": "＼" };
const unmarked = (text) => text.replace(/[<>{}\\]/g, (sign) => lookAlikes[sign]);

function time(seconds, separator) {
  const milliseconds = Math.round(seconds * 1000);
  const pad = (number, width) => String(number).padStart(width, "0");
  const [hours, minutes] = [Math.floor(milliseconds / 3_600_000), Math.floor(milliseconds / 60_000) % 60];
  const rest = milliseconds % 60_000;
  return `${pad(hours, 2)}:${pad(minutes, 2)}:${pad(Math.floor(rest / 1000), 2)}${separator}${pad(rest % 1000, 3)}`;
}
