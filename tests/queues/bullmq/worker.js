// Workers of a BullMQ queue: every job writes its number into the record file.
"use strict";
const fs = require("node:fs");
const { Worker } = require("bullmq");

const connection = { host: "127.0.0.1", port: Number(process.env.QUEUE_PORT), maxRetriesPerRequest: null };
const record = fs.openSync(process.env.QUEUE_RECORD, "a");
const worker = new Worker(
  "crash",
  async (job) => {
    fs.writeSync(record, `${job.data.number}\n`);
    return job.data.number;
  },
  // Short, so that jobs whose worker lost the server are taken up by others at once.
  { connection, concurrency: 8, lockDuration: 2000, stalledInterval: 500, maxStalledCount: 100 },
);
worker.on("error", (error) => console.error(String(error)));
