// BullMQ in Node, as it comes. The same measurements as common.py.
const { createRequire } = require("node:module");
const path = require("node:path");
const load = createRequire(path.join(process.env.NODE_BULLMQ, "x.cjs"));
const { Queue, QueueEvents, Worker } = load("bullmq");
const Redis = load("ioredis");

const asked = JSON.parse(process.argv[2]);
const options = () => ({
  connection: new Redis(asked.port, "127.0.0.1", { maxRetriesPerRequest: null }),
  prefix: asked.prefix,
});
const keep = { removeOnComplete: { count: 10000 } };
const now = () => Number(process.hrtime.bigint()) / 1e6;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
const queue = new Queue("measured", options());
const fill = async () => {
  for (let i = 0; i < asked.jobs / 100; i++)
    await queue.addBulk(Array.from({ length: 100 }, () => ({ name: "measured", data: 0, opts: keep })));
};

const measures = {
  async publish() {
    const some = async () => {
      for (let i = 0; i < asked.jobs / 50; i++) await queue.add("measured", 0, keep);
    };
    const began = now();
    await Promise.all(Array.from({ length: 50 }, some));
    return (asked.jobs / (now() - began)) * 1000;
  },
  async batch() {
    const began = now();
    await fill();
    return (asked.jobs / (now() - began)) * 1000;
  },
  async consume() {
    await fill();
    let done = 0;
    let first = 0;
    await new Promise((resolve) => {
      new Worker(
        "measured",
        async () => {
          first = first || now();
          if (++done === asked.jobs) resolve();
        },
        { ...options(), concurrency: asked.concurrency },
      );
    });
    return (asked.jobs / (now() - first)) * 1000;
  },
  async latency() {
    const taken = [];
    new Worker("measured", async (job) => taken.push(now() - job.data) && null, { ...options(), concurrency: 10 });
    await sleep(500);
    for (let i = 0; i < 100; i++) {
      await queue.add("measured", now(), keep);
      await sleep(10);
    }
    return median(taken);
  },
  async result() {
    new Worker("measured", async () => null, { ...options(), concurrency: 10 });
    const events = new QueueEvents("measured", options());
    await events.waitUntilReady();
    await sleep(500);
    const taken = [];
    for (let i = 0; i < 100; i++) {
      const began = now();
      await (await queue.add("measured", 0, keep)).waitUntilFinished(events);
      taken.push(now() - began);
      await sleep(10);
    }
    return median(taken);
  },
};

measures[asked.what]().then((value) => {
  console.log(JSON.stringify({ ...asked, value }));
  process.exit(0);
});
