// Holds a lock on several independent servers; started as: redlock.js PORT...
"use strict";
const assert = require("node:assert").strict;
const { setTimeout: sleep } = require("node:timers/promises");
const { Redis } = require("ioredis");
const Redlock = require("redlock");

async function main() {
  const servers = process.argv.slice(2).map((port) => new Redis({ port: Number(port) }));
  const impatient = new Redlock(servers, { retryCount: 0 });
  const patient = new Redlock(servers, { retryCount: 200, retryDelay: 10, retryJitter: 10 });

  // Only one holds it; it can be extended, and is free after its release.
  const lock = await impatient.lock("resource", 5000);
  await assert.rejects(impatient.lock("resource", 5000), { name: "LockError" });
  await lock.extend(10_000);
  assert((await servers[0].pttl("resource")) > 5000);
  await lock.unlock();
  assert.equal(await servers[0].exists("resource"), 0);

  // A lock whose holder is gone ends by itself, and nobody else can release it.
  const lost = await impatient.lock("resource", 100);
  const next = await patient.lock("resource", 5000);
  await assert.rejects(lost.unlock(), { name: "LockError" });
  await next.unlock();

  // A majority is enough, and no two hold it at the same time.
  await servers[0].set("resource", "somebody else", "PX", 60_000);
  let holders = 0;
  let counter = 0;
  await Promise.all(
    Array.from({ length: 10 }, async () => {
      const mine = await patient.lock("resource", 5000);
      assert.equal(++holders, 1);
      const seen = counter;
      await sleep(2);
      counter = seen + 1;
      holders -= 1;
      await mine.unlock();
    }),
  );
  assert.equal(counter, 10);
  await servers[1].set("resource", "somebody else", "PX", 60_000);
  await assert.rejects(impatient.lock("resource", 5000), { name: "LockError" });
  console.log("fine");
  for (const server of servers) server.disconnect();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
