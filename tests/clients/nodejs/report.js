// What the programs share: TAP output and the data that the checks use.
"use strict";
const assert = require("node:assert").strict;
const { spawn } = require("node:child_process");
const readline = require("node:readline");
const { setTimeout: sleep } = require("node:timers/promises");

const [host, port, password, , role] = process.argv.slice(2);
let reported = 0;
let hasFailed = false;

async function check(name, body) {
  reported += 1;
  try {
    await body();
    console.log(`ok ${reported} - ${name}`);
  } catch (error) {
    hasFailed = true;
    const details = String((error && error.stack) || error).split("\n");
    console.log([`not ok ${reported} - ${name}`, ...details.map((line) => `# ${line}`)].join("\n"));
  }
}

function end() {
  console.log(`1..${reported}`);
  process.exit(hasFailed ? 1 : 0);
}

function library(name) {
  console.log(`# library ${name === "redis" ? "node-redis" : name} ${require(`${name}/package.json`).version}`);
}

// The same program in another process, as the worker of the queue; resolves when it has ended well.
function worker() {
  const child = spawn(process.execPath, [...process.argv.slice(1, 6), "worker"], { stdio: ["ignore", 2, 2] });
  return new Promise((resolve, reject) => {
    child.on("exit", (status) => (status === 0 ? resolve() : reject(new Error(`the worker ended with ${status}`))));
  });
}

async function restart() {
  const input = readline.createInterface({ input: process.stdin });
  console.log("# RESTART");
  const line = await new Promise((resolve) => input.once("line", resolve));
  input.close();
  assert.equal(line, "restarted");
}

async function until(condition) {
  const deadline = Date.now() + 10_000;
  while (!(await condition())) {
    assert(Date.now() < deadline, String(condition));
    await sleep(5);
  }
}

const allBytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
const megabyte = Buffer.alloc(1 << 20);
for (let i = 0; i < megabyte.length; i++) megabyte[i] = (i * 31 + Math.floor(i / 257)) & 0xff;

module.exports = {
  ALL_BYTES: allBytes,
  MEGABYTE: megabyte,
  PIPELINED: 10_000,
  SCANNED: 1000,
  JOBS: ["one", "two", "three"],
  SCRIPT: "redis.call('SET', KEYS[1], ARGV[1]); return {redis.call('GET', KEYS[1]), 42, {false}}",
  host,
  port: Number(port),
  password,
  openPort: Number(process.env.DISKKV_CLIENT_OPEN_PORT || port),
  isWorker: role === "worker",
  assert,
  check,
  end,
  library,
  restart,
  sleep,
  until,
  worker,
};
