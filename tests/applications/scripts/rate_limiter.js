// Limits rates with rate-limiter-flexible, whose counters are a Lua script; started as: rate_limiter.js PORT
"use strict";
const assert = require("node:assert").strict;
const { Redis } = require("ioredis");
const { RateLimiterRedis, BurstyRateLimiter } = require("rate-limiter-flexible");

async function main() {
  const storeClient = new Redis({ port: Number(process.argv[2]) });
  const limiter = new RateLimiterRedis({ storeClient, points: 50, duration: 60, keyPrefix: "limit" });
  const attempts = Array.from({ length: 200 }, () => limiter.consume("client").then(() => true, () => false));
  const allowed = (await Promise.all(attempts)).filter(Boolean).length;
  assert.equal(allowed, 50);
  const { consumedPoints, remainingPoints, msBeforeNext } = await limiter.get("client");
  assert.deepEqual([consumedPoints, remainingPoints], [200, 0]);
  assert(msBeforeNext > 50_000 && msBeforeNext <= 60_000);
  assert.equal(await limiter.delete("client"), true);
  assert.equal((await limiter.consume("client", 20)).remainingPoints, 30);
  assert.equal((await limiter.reward("client", 5)).remainingPoints, 35);
  await limiter.block("client", 60);
  await assert.rejects(limiter.consume("client"));

  const burst = new RateLimiterRedis({ storeClient, points: 5, duration: 60, keyPrefix: "burst" });
  const steady = new RateLimiterRedis({ storeClient, points: 2, duration: 60, keyPrefix: "steady" });
  const both = new BurstyRateLimiter(steady, burst);
  const bursts = Array.from({ length: 10 }, () => both.consume("client").then(() => true, () => false));
  assert.equal((await Promise.all(bursts)).filter(Boolean).length, 7);
  console.log("fine");
  storeClient.disconnect();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
