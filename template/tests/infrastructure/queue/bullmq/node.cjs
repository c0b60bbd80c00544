// The other side of test_node.py: the real BullMQ, from npm. Prints one JSON value per line.
// node node.cjs COMMAND '{"socket": …, "prefix": …, "queue": …, …}'
const { createRequire } = require("node:module");
const path = require("node:path");
const load = createRequire(path.join(process.env.NODE_BULLMQ, "x.cjs"));
const { Queue, QueueEvents, Worker } = load("bullmq");
const Redis = load("ioredis");

const [command, text] = process.argv.slice(2);
const asked = JSON.parse(text);
const connect = () => new Redis({ ...asked.server, maxRetriesPerRequest: null });
const options = () => ({ connection: connect(), prefix: asked.prefix });
const say = (value) => console.log(JSON.stringify(value));

// Adds jobs, waits for their results, and says them.
async function add() {
  const queue = new Queue(asked.queue, options());
  // From the beginning: by default it reads what comes after its first question, and a job that
  // ends between `waitUntilFinished` and that one is never heard of.
  const events = new QueueEvents(asked.queue, { ...options(), lastEventId: "0-0" });
  await events.waitUntilReady();
  const added = await queue.addBulk(asked.jobs);
  for (const job of added) {
    try {
      say({ id: job.id, result: await job.waitUntilFinished(events, 20000) });
    } catch (error) {
      say({ id: job.id, error: String(error.message) });
    }
  }
}

// Does as many jobs as it is told, and says what they were.
async function work() {
  let left = asked.count;
  const done = new Promise((resolve) => {
    const worker = new Worker(
      asked.queue,
      async (job) => {
        if (job.name === "fails") throw new Error(`attempt ${job.attemptsMade + 1}`);
        await job.updateProgress({ half: true });
        return { echoed: job.data };
      },
      { ...options(), concurrency: 1 },
    );
    const ended = async (job, error) => {
      say({
        name: job.name,
        data: job.data,
        attempts: job.attemptsMade,
        priority: job.opts.priority ?? 0,
        backoff: job.opts.backoff,
        headers: job.opts.telemetry?.metadata,
        failed: error ? String(error.message) : null,
      });
      if ((!error || job.attemptsMade >= job.opts.attempts) && --left === 0) resolve();
    };
    worker.on("completed", (job) => ended(job, null));
    worker.on("failed", ended);
  });
  await done;
}

// Puts a schedule, for workers elsewhere.
async function schedule() {
  const queue = new Queue(asked.queue, options());
  await queue.upsertJobScheduler(asked.key, { every: asked.every }, { name: asked.name, data: asked.data });
  say((await queue.getJobSchedulers()).map((found) => found.key));
}

({ add, work, schedule })[command]().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
