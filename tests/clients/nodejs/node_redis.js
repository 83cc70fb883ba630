// Drives a server through node-redis and reports every check as TAP.
// Started as: node_redis.js HOST PORT PASSWORD DIRECTORY
"use strict";
const { createClient, RESP_TYPES, defineScript } = require("redis");
const report = require("./report.js");
const { ALL_BYTES, MEGABYTE, PIPELINED, SCANNED, JOBS, SCRIPT, assert, check, until } = report;

const BINARY = { [RESP_TYPES.BLOB_STRING]: Buffer };
const DOUBLE = defineScript({
  SCRIPT: "return ARGV[1] * 2",
  NUMBER_OF_KEYS: 0,
  parseCommand: (parser, number) => parser.push(String(number)),
  transformReply: (reply) => reply,
});

async function connected(options = {}) {
  const { host, port, password } = report;
  const socket = { host, port, reconnectStrategy: 50 };
  const client = createClient({ socket, password: password || undefined, scripts: { double: DOUBLE }, ...options });
  client.on("error", () => {});
  return client.connect();
}

let db;

const CHECKS = {
  async connect() {
    const client = await connected({ socket: { host: report.host, port: report.openPort }, password: undefined });
    assert.equal(await client.ping(), "PONG");
    assert.equal(await client.echo("hello"), "hello");
    client.destroy();
    const other = createClient({ url: `redis://${report.host}:${report.openPort}/2` });
    await other.connect();
    assert.equal((await other.clientInfo()).db, 2);
    other.destroy();
  },

  async auth() {
    const client = await connected({ password: undefined, RESP: 2, disableClientInfo: true });
    await assert.rejects(client.get("k"), /NOAUTH Authentication required\./);
    assert.equal(await client.auth({ password: report.password }), "OK");
    assert.equal(await client.auth({ username: "default", password: report.password }), "OK");
    assert.equal(await client.get("k"), null);
    client.destroy();
    const named = await connected({ username: "default" });
    assert.equal(await named.aclWhoAmI(), "default");
    named.destroy();
  },

  async "wrong password error"() {
    const socket = { host: report.host, port: report.port, reconnectStrategy: false };
    const client = createClient({ socket, password: "no such password" });
    client.on("error", () => {});
    await assert.rejects(client.connect(), /WRONGPASS invalid username-password pair or user is disabled\./);
  },

  async "select database isolation"() {
    await db.set("where", "zero");
    const other = await connected({ database: 3 });
    assert.equal(await other.get("where"), null);
    await other.set("where", "three");
    assert.equal(await other.dbSize(), 1);
    await assert.rejects(other.select(1000), /ERR DB index is out of range/);
    assert.equal(await db.get("where"), "zero");
    other.destroy();
  },

  async strings() {
    assert.equal(await db.set("s", "value"), "OK");
    assert.equal(await db.get("s"), "value");
    assert.equal(await db.set("s", "other", { condition: "NX" }), null);
    assert.equal(await db.set("s", "other", { GET: true }), "value");
    assert.equal(await db.append("s", "s"), 6);
    assert.equal(await db.getRange("s", 1, 3), "the");
    assert.equal(await db.mSet({ s1: "one", s2: "two" }), "OK");
    assert.deepEqual(await db.mGet(["s1", "nosuch", "s2"]), ["one", null, "two"]);
    assert.equal(await db.del(["s", "s1", "s2", "nosuch"]), 3);
  },

  async counters() {
    assert.equal(await db.incr("n"), 1);
    const exact = db.withTypeMapping({ [RESP_TYPES.NUMBER]: String });
    assert.equal(await exact.sendCommand(["INCRBY", "n", "9223372036854775000"]), "9223372036854775001");
    await assert.rejects(db.incrBy("n", 1000), /ERR increment or decrement would overflow/);
    assert.equal(await db.sendCommand(["DECRBY", "n", "9223372036854775000"]), 1);
    assert.equal(await db.incrByFloat("n", 0.5), "1.5");
    await assert.rejects(db.incr("n"), /ERR value is not an integer or out of range/);
  },

  async "binary-safe keys and values"() {
    const raw = db.withTypeMapping(BINARY);
    assert.equal(await db.set(ALL_BYTES, ALL_BYTES), "OK");
    assert.deepEqual(await raw.get(ALL_BYTES), ALL_BYTES);
    assert.deepEqual(await raw.keys(Buffer.from("\0\x01*")), [ALL_BYTES]);
    assert.equal(await db.set("", ""), "OK");
    assert.equal(await db.get(""), "");
    assert.equal(await db.del(""), 1);
    await db.set("big", MEGABYTE);
    assert((await raw.get("big")).equals(MEGABYTE));
    await db.set(MEGABYTE.subarray(0, 65536), "long-key");
    assert.equal(await db.get(MEGABYTE.subarray(0, 65536)), "long-key");
  },

  async hashes() {
    assert.equal(await db.hSet("h", { a: 1, b: 2, c: 3 }), 3);
    assert.equal(await db.hGet("h", "b"), "2");
    assert.equal(await db.hGet("h", "nosuch"), null);
    assert.deepEqual({ ...(await db.hGetAll("h")) }, { a: "1", b: "2", c: "3" });
    assert.equal(await db.hIncrBy("h", "a", 41), 42);
    assert.equal(await db.hDel("h", ["b", "c", "nosuch"]), 2);
    assert.equal(await db.hLen("h"), 1);
  },

  async lists() {
    assert.equal(await db.rPush("l", ["a", "b", "c"]), 3);
    assert.equal(await db.lPush("l", "z"), 4);
    assert.deepEqual(await db.lRange("l", 0, -1), ["z", "a", "b", "c"]);
    assert.equal(await db.lPop("l"), "z");
    assert.deepEqual(await db.rPopCount("l", 2), ["c", "b"]);
    assert.equal(await db.lIndex("l", 0), "a");
    assert.equal(await db.lMove("l", "l2", "LEFT", "RIGHT"), "a");
    assert.equal(await db.exists("l"), 0);
  },

  async sets() {
    assert.equal(await db.sAdd("s1", ["a", "b", "c", "a"]), 3);
    assert.equal(await db.sAdd("s2", ["b", "c", "d"]), 3);
    assert.equal(await db.sIsMember("s1", "a"), 1);
    assert.deepEqual((await db.sInter(["s1", "s2"])).sort(), ["b", "c"]);
    assert.equal(await db.sUnionStore("s3", ["s1", "s2"]), 4);
    assert.deepEqual(await db.sDiff(["s1", "s2"]), ["a"]);
    assert.equal(await db.sRem("s1", ["a", "nosuch"]), 1);
    assert.equal(await db.sCard("s1"), 2);
  },

  async "sorted sets"() {
    const members = [{ score: 1, value: "a" }, { score: 2.5, value: "b" }, { score: -Infinity, value: "c" }];
    assert.equal(await db.zAdd("z", members), 3);
    assert.deepEqual(await db.zRangeWithScores("z", 0, -1), [
      { score: -Infinity, value: "c" }, { score: 1, value: "a" }, { score: 2.5, value: "b" },
    ]);
    assert.equal(await db.zScore("z", "b"), 2.5);
    assert.equal(await db.zIncrBy("z", 2, "a"), 3);
    assert.equal(await db.zRank("z", "a"), 2);
    assert.deepEqual(await db.zRangeByScore("z", "(2.5", "+inf"), ["a"]);
    assert.deepEqual({ ...(await db.zPopMin("z")) }, { score: -Infinity, value: "c" });
    assert.equal(await db.zCard("z"), 2);
  },

  async expiry() {
    await db.set("e", "v", { expiration: { type: "EX", value: 100 } });
    assert([99, 100].includes(await db.ttl("e")));
    assert.equal(await db.persist("e"), 1);
    assert.equal(await db.ttl("e"), -1);
    assert.equal(await db.pExpire("e", 30), 1);
    await until(async () => (await db.exists("e")) === 0);
    assert.equal(await db.get("e"), null);
    assert.equal(await db.ttl("e"), -2);
  },

  async "pipeline of 10,000 commands"() {
    // What is called in one tick is sent as one pipeline.
    let sum = 0;
    const sums = Array.from({ length: PIPELINED }, (_, i) => (sum += i % 7));
    const replies = await Promise.all(sums.map((_, i) => db.incrBy("pipelined", i % 7)));
    assert.deepEqual(replies, sums);
    const batch = db.multi();
    for (let i = 0; i < 100; i++) batch.decr("pipelined");
    assert.equal((await batch.execAsPipeline()).at(-1), sum - 100);
  },

  async "MULTI/EXEC"() {
    const failed = db.multi().set("t", 1).incr("t").lPop("t").exec();
    const error = await failed.then(() => assert.fail("no error"), (rejected) => rejected);
    assert.deepEqual(error.replies.slice(0, 2), ["OK", 2]);
    assert.match(error.replies[2].message, /^WRONGTYPE /);
    assert.deepEqual(error.errorIndexes, [2]);
    await assert.rejects(db.multi().addCommand(["NOSUCH"]).exec(), /unknown command|EXECABORT/);
  },

  async "WATCH conflict"() {
    const { WatchError } = require("redis");
    const watcher = await connected();
    await db.set("w", 1);
    await watcher.watch("w");
    await db.incr("w");
    await assert.rejects(watcher.multi().set("w", 100).exec(), WatchError);
    assert.equal(await db.get("w"), "2");
    await watcher.watch("w");
    assert.deepEqual(await watcher.multi().set("w", 100).exec(), ["OK"]);
    watcher.destroy();
  },

  async "publish/subscribe message"() {
    const subscriber = await connected();
    const received = new Promise((resolve) => {
      subscriber.subscribe("news", (...args) => resolve(args), true).then(() => db.publish("news", Buffer.from("a\0b")));
    });
    assert.deepEqual((await received).map(String), ["a\0b", "news"]);
    await subscriber.unsubscribe("news");
    assert.equal(await subscriber.ping(), "PONG");
    subscriber.destroy();
  },

  async "publish/subscribe pattern"() {
    const subscriber = await connected();
    let resolve;
    const received = new Promise((done) => (resolve = done));
    await subscriber.pSubscribe("n?ws.*", (...args) => resolve(args));
    assert.equal(await db.publish("news.art", "hello"), 1);
    assert.equal(await db.publish("nws.art", "hello"), 0);
    assert.deepEqual(await received, ["hello", "news.art"]);
    subscriber.destroy();
  },

  async "blocking pop queue between two processes"() {
    const ended = report.worker();
    await until(async () => /^blocked_clients:1\r$/m.test(await db.info("clients")));
    assert.equal(await db.rPush("jobs", "one"), 1);
    assert.deepEqual({ ...(await db.blPop("done", 10)) }, { key: "done", element: "did-one" });
    await db.rPush("jobs", ["two", "three"]);
    assert.equal((await db.blPop("done", 10)).element, "did-two");
    assert.equal((await db.blPop("done", 10)).element, "did-three");
    await ended;
  },

  async "blocking pop timeout"() {
    const begin = Date.now();
    assert.equal(await db.blPop("nosuch", 0.2), null);
    assert(Date.now() - begin > 190 && Date.now() - begin < 5000);
    assert.equal(await db.brPopLPush("nosuch", "other", 0.05), null);
  },

  async EVAL() {
    assert.deepEqual(await db.eval(SCRIPT, { keys: ["k"], arguments: ["v"] }), ["v", 42, [null]]);
    await assert.rejects(db.eval("return redis.error_reply('MINE it went wrong')"), /MINE it went wrong/);
    await assert.rejects(db.eval("return +"), /ERR Error compiling script/);
  },

  async "EVALSHA/NOSCRIPT"() {
    const sha = await db.scriptLoad("return ARGV[1] * 2");
    assert.equal(await db.evalSha(sha, { arguments: ["21"] }), 42);
    assert.equal(await db.scriptFlush(), "OK");
    await assert.rejects(db.evalSha(sha, { arguments: ["21"] }), /NOSCRIPT No matching script/);
    // node-redis tries EVALSHA first, and EVAL when the server does not know the script.
    assert.equal(await db.double(4), 8);
    assert.equal(await db.double(5), 10);
  },

  async "SCAN loop"() {
    const names = Array.from({ length: SCANNED }, (_, i) => `scanned:${i}`);
    await db.mSet(names.map((name) => [name, "1"]));
    const found = new Set();
    let calls = 0;
    for await (const keys of db.scanIterator({ MATCH: "scanned:*", COUNT: 100 })) {
      calls += 1;
      for (const key of keys) found.add(key);
    }
    assert.deepEqual([...found].sort(), names.sort());
    assert(calls > 1);
  },

  async "streams with consumer group"() {
    assert.equal(await db.xAdd("x", "1-1", { f: "a" }), "1-1");
    await db.xAdd("x", "1-2", { f: "b" });
    const newest = await db.xAdd("x", "*", { f: "c" });
    assert.equal(await db.xGroupCreate("x", "g", "0"), "OK");
    await assert.rejects(db.xGroupCreate("x", "g", "0"), /BUSYGROUP/);
    const [stream] = await db.xReadGroup("g", "alice", { key: "x", id: ">" }, { COUNT: 2 });
    assert.deepEqual(stream.messages.map(({ id, message }) => [id, { ...message }]), [
      ["1-1", { f: "a" }], ["1-2", { f: "b" }],
    ]);
    const { pending, firstId, lastId } = await db.xPending("x", "g");
    assert.deepEqual([pending, firstId, lastId], [2, "1-1", "1-2"]);
    assert.equal(await db.xAck("x", "g", "1-1"), 1);
    assert.equal((await db.xClaim("x", "g", "bob", 0, "1-2"))[0].id, "1-2");
    assert.equal((await db.xAutoClaim("x", "g", "alice", 0, "0")).messages[0].id, "1-2");
    const read = await db.xReadGroup("g", "bob", { key: "x", id: ">" }, { BLOCK: 1000 });
    assert.equal(read[0].messages[0].id, newest);
    assert.equal(await db.xReadGroup("g", "bob", { key: "x", id: ">" }, { BLOCK: 30 }), null);
    assert.equal(await db.xLen("x"), 3);
  },

  async RESP3() {
    const client = await connected({ RESP: 3 });
    await client.hSet("r", { f: "v" });
    assert.deepEqual({ ...(await client.hGetAll("r")) }, { f: "v" });
    await client.sAdd("rs", "m");
    const sets = client.withTypeMapping({ [RESP_TYPES.SET]: Set });
    assert.deepEqual(await sets.sMembers("rs"), new Set(["m"]));
    await client.zAdd("rz", { score: 1.5, value: "m" });
    assert.equal(await client.sendCommand(["ZSCORE", "rz", "m"]), 1.5);
    assert.equal(await client.eval("redis.setresp(3); return true"), true);
    // Pushed messages and replies share one connection.
    let resolve;
    const received = new Promise((done) => (resolve = done));
    await client.subscribe("pushed", resolve);
    assert.equal(await client.publish("pushed", "hello"), 1);
    assert.equal(await received, "hello");
    client.destroy();
  },

  async errors() {
    await db.set("text", "v");
    await assert.rejects(db.lPush("text", "x"), {
      message: "WRONGTYPE Operation against a key holding the wrong kind of value",
    });
    const unknown = db.sendCommand(["NOSUCH", "a", "b"]);
    await assert.rejects(unknown, /ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' $/);
    await assert.rejects(db.sendCommand(["GET"]), /ERR wrong number of arguments for 'get' command/);
    await assert.rejects(db.sendCommand(["SET", "text", "v", "EX", "nan"]), /ERR value is not an integer or out of range/);
  },

  async "reconnect after restart"() {
    await db.set("kept", "over the restart");
    await db.rPush("kept-list", ["a", "b"]);
    await report.restart();
    assert.equal(await db.get("kept"), "over the restart");
    assert.deepEqual(await db.lRange("kept-list", 0, -1), ["a", "b"]);
  },
};

async function work() {
  db = await connected();
  for (const _ of JOBS) {
    const { element } = await db.blPop("jobs", 10);
    await db.rPush("done", `did-${element}`);
  }
  process.exit(0);
}

async function main() {
  report.library("redis");
  db = await connected();
  await db.flushAll();
  for (const [name, body] of Object.entries(CHECKS)) await check(name, body);
  report.end();
}

report.isWorker ? work() : main();
