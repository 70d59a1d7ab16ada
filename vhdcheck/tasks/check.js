"use strict";

/* Checks files where they are. The service says which bytes it wants next, this sends these and all from before, until
   the answer is a report. The first bytes wanted are always the ends of the file, so they are sent unasked: that saves
   a round trip. Files are checked one after the other. */

const main = document.getElementById("main");
const END = Number(main.dataset.end);
const MOST = Number(main.dataset.most);
const input = document.getElementById("files");
const drop = document.getElementById("drop");
let queue = Promise.resolve();

function grouped(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

function made(name, text, parent, look) {
  const element = document.createElement(name);
  element.textContent = text;
  if (look) element.className = look;
  parent.append(element);
  return element;
}

function ends(size) {
  if (size <= 2 * END) return size ? [{ offset: 0, length: size }] : [];
  return [{ offset: 0, length: END }, { offset: size - END, length: END }];
}

/* The browser refuses to read a file that is not as it was when it was chosen. */
async function read(file, offset, length) {
  let data;
  try {
    data = await file.slice(offset, offset + length).arrayBuffer();
  } catch {
    throw new Error("the file cannot be read, or it has changed since it was chosen: choose it again");
  }
  if (data.byteLength !== length) throw new Error("the file became shorter: choose it again");
  return data;
}

async function posted(file, parts) {
  let response;
  try {
    response = await fetch(`/check?size=${file.size}`, { method: "POST", body: new Blob(parts) });
  } catch {
    throw new Error("the service does not answer");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ? answer.error.message : `the service answers ${response.status}`);
  return answer;
}

async function checked(file, cost) {
  const parts = [];
  let answer = { wanted: ends(file.size) };
  let bytes = 0;
  do {
    for (const span of answer.wanted) {
      bytes += span.length;
      if (bytes > MOST) throw new Error("the service asks for more than it should");
      parts.push(await read(file, span.offset, span.length));
    }
    cost.rounds += 1;
    cost.bytes = Math.min(bytes, file.size); // some may be among the last ones too
    cost.sent += bytes;
    answer = await posted(file, parts);
  } while (answer.wanted);
  await read(file, 0, Math.min(file.size, 1));
  return answer;
}

function fit(frame) {
  const shown = frame.contentDocument;
  if (shown && shown.body) frame.style.height = `${shown.body.scrollHeight + 32}px`;
}

function show(item, file, answer) {
  const details = made("details", "", item);
  made("summary", "Report, with a map", details);
  const frame = document.createElement("iframe");
  frame.title = `Report on ${file.name}`;
  frame.setAttribute("sandbox", "allow-same-origin");
  frame.src = URL.createObjectURL(new Blob([answer.html], { type: "text/html" }));
  frame.addEventListener("load", () => fit(frame));
  details.addEventListener("toggle", () => fit(frame));
  window.addEventListener("resize", () => fit(frame));
  details.append(frame);
  details.open = !answer.accepted;
}

async function check(file, item, line) {
  const status = document.getElementById("status");
  const cost = { bytes: 0, sent: 0, rounds: 0 };
  line.textContent = "being checked";
  status.textContent = `Checking ${file.name}`;
  let answer = null;
  try {
    answer = await checked(file, cost);
    line.textContent = answer.accepted ? "\u2713 accepted" : `\u2717 refused: ${answer.message}`;
    line.className = answer.accepted ? "status success" : "status failure";
  } catch (error) {
    line.textContent = `? not checked: ${error.message}`;
    line.className = "status pending";
  }
  const trips = `${cost.rounds} round trip${cost.rounds === 1 ? "" : "s"}`;
  const again = cost.sent > cost.bytes ? `, ${grouped(cost.sent)} with what was sent again` : "";
  const sum = `${grouped(cost.bytes)} of ${grouped(file.size)} bytes sent in ${trips}${again}`;
  made("p", answer ? `${sum}. ${answer.findings} finding${answer.findings === 1 ? "" : "s"}.` : `${sum}.`, item, "soft");
  if (answer) show(item, file, answer);
  status.textContent = `${file.name}: ${line.textContent.slice(2)}`;
  item.setAttribute("aria-busy", "false");
}

function take(files) {
  for (const file of files) {
    const item = document.createElement("li");
    item.setAttribute("aria-busy", "true");
    document.getElementById("checks").append(item);
    made("h2", file.name, item);
    const line = made("p", "waits", item, "status pending");
    queue = queue.then(() => check(file, item, line));
  }
}

input.addEventListener("change", () => {
  take([...input.files]);
  input.value = "";
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  take([...event.dataTransfer.files]);
});
