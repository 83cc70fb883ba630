// Drives a server through ioredis and reports every check as TAP; started as: ioredis.js HOST PORT PASSWORD DIRECTORY
"use strict";
const { Redis } = require("ioredis");
const report = require("./report.js");
const { ALL_BYTES, MEGABYTE, PIPELINED, SCANNED, JOBS, SCRIPT, assert, check, until } = report;

function connected(options = {}) {
  const { host, port, password } = report;
  const client = new Redis({ host, port, password: password || undefined, retryStrategy: () => 50, ...options });
  client.on("error", () => {});
  return client;
}

const db = connected();

const CHECKS = {
  async connect() {
    const client = connected({ port: report.openPort, password: undefined });
    assert.equal(await client.ping(), "PONG");
    assert.equal(await client.echo("hello"), "hello");
    client.disconnect();
    const other = new Redis(`redis://${report.host}:${report.openPort}/2`);
    assert.match(await other.client("INFO"), / db=2 /);
    other.disconnect();
  },

  async auth() {
    const client = connected({ password: undefined, enableReadyCheck: false, protocol: 2 });
    await assert.rejects(client.get("k"), /^ReplyError: NOAUTH Authentication required\.$/);
    assert.equal(await client.auth(report.password), "OK");
    assert.equal(await client.auth("default", report.password), "OK");
    assert.equal(await client.get("k"), null);
    client.disconnect();
    const named = connected({ username: "default" });
    assert.equal(await named.acl("WHOAMI"), "default");
    named.disconnect();
  },

  async "wrong password error"() {
    const client = new Redis({ host: report.host, port: report.port, password: "no such password", lazyConnect: true });
    const failed = new Promise((resolve) => client.once("error", resolve));
    client.connect().catch(() => {});
    assert.match(String(await failed), /WRONGPASS invalid username-password pair or user is disabled\./);
    client.disconnect();
  },

  async "select database isolation"() {
    await db.set("where", "zero");
    const other = connected({ db: 3 });
    assert.equal(await other.get("where"), null);
    await other.set("where", "three");
    assert.equal(await other.dbsize(), 1);
    await assert.rejects(other.select(1000), /ERR DB index is out of range/);
    assert.equal(await db.get("where"), "zero");
    other.disconnect();
  },

  async strings() {
    assert.equal(await db.set("s", "value"), "OK");
    assert.equal(await db.get("s"), "value");
    assert.equal(await db.set("s", "other", "NX"), null);
    assert.equal(await db.set("s", "other", "GET"), "value");
    assert.equal(await db.append("s", "s"), 6);
    assert.equal(await db.getrange("s", 1, 3), "the");
    assert.equal(await db.mset({ s1: "one", s2: "two" }), "OK");
    assert.deepEqual(await db.mget("s1", "nosuch", "s2"), ["one", null, "two"]);
    assert.equal(await db.del("s", "s1", "s2", "nosuch"), 3);
  },

  async counters() {
    assert.equal(await db.incr("n"), 1);
    assert.equal(String(await db.call("INCRBY", "n", "9007199254740000")), "9007199254740001");
    await assert.rejects(db.incrby("n", "9223372036854775000"), /ERR increment or decrement would overflow/);
    assert.equal(await db.decrby("n", "9007199254740000"), 1);
    assert.equal(await db.incrbyfloat("n", 0.5), "1.5");
    await assert.rejects(db.incr("n"), /ERR value is not an integer or out of range/);
  },

  async "binary-safe keys and values"() {
    assert.equal(await db.set(ALL_BYTES, ALL_BYTES), "OK");
    assert.deepEqual(await db.getBuffer(ALL_BYTES), ALL_BYTES);
    assert.deepEqual(await db.keysBuffer(Buffer.from("\0\x01*")), [ALL_BYTES]);
    assert.equal(await db.set("", ""), "OK");
    assert.equal(await db.get(""), "");
    assert.equal(await db.del(""), 1);
    await db.set("big", MEGABYTE);
    assert((await db.getBuffer("big")).equals(MEGABYTE));
    await db.set(MEGABYTE.subarray(0, 65536), "long-key");
    assert.equal(await db.get(MEGABYTE.subarray(0, 65536)), "long-key");
  },

  async hashes() {
    assert.equal(await db.hset("h", { a: 1, b: 2, c: 3 }), 3);
    assert.equal(await db.hget("h", "b"), "2");
    assert.equal(await db.hget("h", "nosuch"), null);
    assert.deepEqual({ ...(await db.hgetall("h")) }, { a: "1", b: "2", c: "3" });
    assert.equal(await db.hincrby("h", "a", 41), 42);
    assert.equal(await db.hdel("h", "b", "c", "nosuch"), 2);
    assert.equal(await db.hlen("h"), 1);
  },

  async lists() {
    assert.equal(await db.rpush("l", "a", "b", "c"), 3);
    assert.equal(await db.lpush("l", "z"), 4);
    assert.deepEqual(await db.lrange("l", 0, -1), ["z", "a", "b", "c"]);
    assert.equal(await db.lpop("l"), "z");
    assert.deepEqual(await db.rpop("l", 2), ["c", "b"]);
    assert.equal(await db.lindex("l", 0), "a");
    assert.equal(await db.lmove("l", "l2", "LEFT", "RIGHT"), "a");
    assert.equal(await db.exists("l"), 0);
  },

  async sets() {
    assert.equal(await db.sadd("s1", "a", "b", "c", "a"), 3);
    assert.equal(await db.sadd("s2", "b", "c", "d"), 3);
    assert.equal(await db.sismember("s1", "a"), 1);
    assert.deepEqual((await db.sinter("s1", "s2")).sort(), ["b", "c"]);
    assert.equal(await db.sunionstore("s3", "s1", "s2"), 4);
    assert.deepEqual(await db.sdiff("s1", "s2"), ["a"]);
    assert.equal(await db.srem("s1", "a", "nosuch"), 1);
    assert.equal(await db.scard("s1"), 2);
  },

  async "sorted sets"() {
    assert.equal(await db.zadd("z", 1, "a", 2.5, "b", "-inf", "c"), 3);
    assert.deepEqual(await db.zrange("z", 0, -1, "WITHSCORES"), ["c", "-inf", "a", "1", "b", "2.5"]);
    assert.equal(await db.zscore("z", "b"), "2.5");
    assert.equal(await db.zincrby("z", 2, "a"), "3");
    assert.equal(await db.zrank("z", "a"), 2);
    assert.deepEqual(await db.zrangebyscore("z", "(2.5", "+inf"), ["a"]);
    assert.deepEqual(await db.zpopmin("z"), ["c", "-inf"]);
    assert.equal(await db.zcard("z"), 2);
  },

  async expiry() {
    await db.set("e", "v", "EX", 100);
    assert([99, 100].includes(await db.ttl("e")));
    assert.equal(await db.persist("e"), 1);
    assert.equal(await db.ttl("e"), -1);
    assert.equal(await db.pexpire("e", 30), 1);
    await until(async () => (await db.exists("e")) === 0);
    assert.equal(await db.get("e"), null);
    assert.equal(await db.ttl("e"), -2);
  },

  async "pipeline of 10,000 commands"() {
    const batch = db.pipeline();
    let sum = 0;
    const sums = Array.from({ length: PIPELINED }, (_, i) => {
      batch.incrby("pipelined", i % 7);
      return [null, (sum += i % 7)];
    });
    assert.deepEqual(await batch.exec(), sums);
  },

  async "MULTI/EXEC"() {
    const replies = await db.multi().set("t", 1).incr("t").lpop("t").exec();
    assert.deepEqual(replies.slice(0, 2), [[null, "OK"], [null, 2]]);
    assert.match(replies[2][0].message, /^WRONGTYPE /);
    await assert.rejects(db.multi().call("NOSUCH").exec(), /EXECABORT Transaction discarded because of previous errors\./);
  },

  async "WATCH conflict"() {
    const other = connected();
    await db.set("w", 1);
    await db.watch("w");
    await other.incr("w");
    assert.equal(await db.multi().set("w", 100).exec(), null);
    assert.equal(await db.get("w"), "2");
    await db.watch("w");
    assert.deepEqual(await db.multi().set("w", 100).exec(), [[null, "OK"]]);
    other.disconnect();
  },

  async "publish/subscribe message"() {
    const subscriber = connected();
    assert.equal(await subscriber.subscribe("news"), 1);
    const received = new Promise((resolve) => subscriber.once("messageBuffer", (...args) => resolve(args)));
    assert.equal(await db.publish("news", Buffer.from("a\0b")), 1);
    assert.deepEqual((await received).map(String), ["news", "a\0b"]);
    assert.equal(await subscriber.unsubscribe("news"), 0);
    assert.equal(await subscriber.ping(), "PONG");
    subscriber.disconnect();
  },

  async "publish/subscribe pattern"() {
    const subscriber = connected();
    assert.equal(await subscriber.psubscribe("n?ws.*"), 1);
    const received = new Promise((resolve) => subscriber.once("pmessage", (...args) => resolve(args)));
    assert.equal(await db.publish("news.art", "hello"), 1);
    assert.equal(await db.publish("nws.art", "hello"), 0);
    assert.deepEqual(await received, ["n?ws.*", "news.art", "hello"]);
    subscriber.disconnect();
  },

  async "blocking pop queue between two processes"() {
    const ended = report.worker();
    await until(async () => /^blocked_clients:1\r$/m.test(await db.info("clients")));
    assert.equal(await db.rpush("jobs", "one"), 1);
    assert.deepEqual(await db.blpop("done", 10), ["done", "did-one"]);
    await db.rpush("jobs", "two", "three");
    assert.deepEqual(await db.blpop("done", 10), ["done", "did-two"]);
    assert.deepEqual(await db.blpop("done", 10), ["done", "did-three"]);
    await ended;
  },

  async "blocking pop timeout"() {
    const begin = Date.now();
    assert.equal(await db.blpop("nosuch", 0.2), null);
    assert(Date.now() - begin > 190 && Date.now() - begin < 5000);
    assert.equal(await db.brpoplpush("nosuch", "other", 0.05), null);
  },

  async EVAL() {
    assert.deepEqual(await db.eval(SCRIPT, 1, "k", "v"), ["v", 42, [null]]);
    await assert.rejects(db.eval("return redis.error_reply('MINE it went wrong')", 0), /MINE it went wrong/);
    await assert.rejects(db.eval("return +", 0), /ERR Error compiling script/);
  },

  async "EVALSHA/NOSCRIPT"() {
    const sha = await db.script("LOAD", "return ARGV[1] * 2");
    assert.equal(await db.evalsha(sha, 0, 21), 42);
    assert.equal(await db.script("FLUSH"), "OK");
    await assert.rejects(db.evalsha(sha, 0, 21), /NOSCRIPT No matching script/);
    // ioredis tries EVALSHA first, and EVAL when the server does not know the script.
    db.defineCommand("double", { numberOfKeys: 0, lua: "return ARGV[1] * 2" });
    assert.equal(await db.double(4), 8);
    assert.equal(await db.double(5), 10);
  },

  async "SCAN loop"() {
    const names = Array.from({ length: SCANNED }, (_, i) => `scanned:${i}`);
    await db.mset(new Map(names.map((name) => [name, 1])));
    const found = new Set();
    let calls = 0;
    for await (const keys of db.scanStream({ match: "scanned:*", count: 100 })) {
      calls += 1;
      for (const key of keys) found.add(key);
    }
    assert.deepEqual([...found].sort(), names.sort());
    assert(calls > 1);
  },

  async "streams with consumer group"() {
    assert.equal(await db.xadd("x", "1-1", "f", "a"), "1-1");
    await db.xadd("x", "1-2", "f", "b");
    const newest = await db.xadd("x", "*", "f", "c");
    assert.equal(await db.xgroup("CREATE", "x", "g", "0"), "OK");
    await assert.rejects(db.xgroup("CREATE", "x", "g", "0"), /BUSYGROUP/);
    assert.deepEqual(await db.xreadgroup("GROUP", "g", "alice", "COUNT", 2, "STREAMS", "x", ">"), [
      ["x", [["1-1", ["f", "a"]], ["1-2", ["f", "b"]]]],
    ]);
    assert.deepEqual(await db.xpending("x", "g"), [2, "1-1", "1-2", [["alice", "2"]]]);
    assert.equal(await db.xack("x", "g", "1-1"), 1);
    assert.deepEqual(await db.xclaim("x", "g", "bob", 0, "1-2"), [["1-2", ["f", "b"]]]);
    const read = await db.xreadgroup("GROUP", "g", "bob", "BLOCK", 1000, "STREAMS", "x", ">");
    assert.equal(read[0][1][0][0], newest);
    assert.equal(await db.xreadgroup("GROUP", "g", "bob", "BLOCK", 30, "STREAMS", "x", ">"), null);
    assert.equal(await db.xlen("x"), 3);
  },

  async RESP3() {
    const client = connected({ protocol: 3, replyMapping: "resp3" });
    await client.hset("r", { f: "v" });
    assert.deepEqual({ ...(await client.call("HGETALL", "r")) }, { f: "v" });
    await client.sadd("rs", "m");
    assert.deepEqual([...(await client.call("SMEMBERS", "rs"))], ["m"]);
    await client.zadd("rz", 1.5, "m");
    assert.equal(await client.call("ZSCORE", "rz", "m"), 1.5);
    assert.equal(await client.eval("redis.setresp(3); return true", 0), true);
    // Pushed messages and replies share one connection.
    const received = new Promise((resolve) => client.once("message", (...args) => resolve(args)));
    assert.equal(await client.subscribe("pushed"), 1);
    assert.equal(await client.publish("pushed", "hello"), 1);
    assert.deepEqual(await received, ["pushed", "hello"]);
    client.disconnect();
  },

  async errors() {
    await db.set("text", "v");
    await assert.rejects(db.lpush("text", "x"), {
      name: "ReplyError",
      message: "WRONGTYPE Operation against a key holding the wrong kind of value",
    });
    await assert.rejects(db.call("NOSUCH", "a", "b"), /ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' $/);
    await assert.rejects(db.call("GET"), /ERR wrong number of arguments for 'get' command/);
    await assert.rejects(db.call("SET", "text", "v", "EX", "nan"), /ERR value is not an integer or out of range/);
  },

  async "reconnect after restart"() {
    await db.set("kept", "over the restart");
    await db.rpush("kept-list", "a", "b");
    await report.restart();
    assert.equal(await db.get("kept"), "over the restart");
    assert.deepEqual(await db.lrange("kept-list", 0, -1), ["a", "b"]);
  },
};

async function work() {
  for (const _ of JOBS) {
    const [, job] = await db.blpop("jobs", 10);
    await db.rpush("done", `did-${job}`);
  }
  process.exit(0);
}

async function main() {
  report.library("ioredis");
  await db.flushall();
  for (const [name, body] of Object.entries(CHECKS)) await check(name, body);
  report.end();
}

report.isWorker ? work() : main();
