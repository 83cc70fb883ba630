// Adds numbered jobs from several lanes at once and prints each number when the server has acknowledged it.
"use strict";
const { Queue } = require("bullmq");

const connection = { host: "127.0.0.1", port: Number(process.env.QUEUE_PORT), maxRetriesPerRequest: null };
const queue = new Queue("crash", { connection });
queue.on("error", (error) => console.error(String(error)));

// Every kind of job, as each is a script of its own.
const KINDS = [{}, { delay: 50 }, { priority: 3 }, { lifo: true }, { attempts: 3, removeOnComplete: true }];

async function main() {
  const [jobs, lanes] = process.argv.slice(2).map(Number);
  let next = 0;
  async function lane() {
    while (next < jobs) {
      const number = next++;
      await queue.add("job", { number }, KINDS[number % KINDS.length]);
      console.log(number);
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane));
  await queue.close();
}

main().then(() => process.exit(0));
