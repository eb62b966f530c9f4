// Runs BullMQ on behalf of a Go test: one request a line on stdin, one answer
// a line on stdout. It ends when stdin ends, that is also when the test dies.
//
//   {"queue": {...}, "call": "add", "args": [...]}      any method of BullMQ's Queue
//   {"queue": {...}, "flow": {...}}                     a FlowProducer's add
//   {"queue": {...}, "work": "complete", "options": {}} a Worker in a process of its own; a number
//                                                       is how many milliseconds a job takes
//   {"worker": 3, "end": "stop" | "kill"}
//
// A queue is {"host", "port", "password", "prefix", "name"}.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { options } from './connection.mjs';

const major = process.argv[2];
const { Queue, FlowProducer } = await import(`bullmq${major}`);
const queues = new Map();
const workers = new Map();

function queueOf(where) {
  const key = JSON.stringify(where);
  if (!queues.has(key)) {
    queues.set(key, new Queue(where.name, options(where)));
  }
  return queues.get(key);
}

// A job holds its queue and connection; its id is what a test can use.
function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (value?.job) return { job: plain(value.job), children: plain(value.children ?? []) };
  if (value?.queueName) return { id: value.id, queue: value.queueName };
  return value ?? null;
}

async function addFlow(where, flow) {
  const producer = new FlowProducer(options(where));
  try {
    return await producer.add(flow);
  } finally {
    await producer.close();
  }
}

async function startWorker(request) {
  const spec = JSON.stringify({ major, ...request });
  const child = fork(new URL('worker.mjs', import.meta.url), [spec], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const [message] = await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => { throw new Error(`worker ended at start with code ${code}`); }),
  ]);
  if (message !== 'ready') throw new Error(`worker said ${message}`);
  workers.set(child.pid, child);
  return child.pid;
}

async function endWorker(pid, how) {
  const child = workers.get(pid);
  if (!child) throw new Error(`no worker ${pid}`);
  workers.delete(pid);
  const gone = once(child, 'exit');
  if (how === 'kill') child.kill('SIGKILL');
  else child.disconnect();
  await gone;
}

async function answer(request) {
  if (request.call) return queueOf(request.queue)[request.call](...(request.args ?? []));
  if (request.flow) return addFlow(request.queue, request.flow);
  if (request.work !== undefined) return startWorker(request);
  if (request.end) return endWorker(request.worker, request.end);
  throw new Error(`what is ${JSON.stringify(request)}?`);
}

for await (const line of createInterface({ input: process.stdin })) {
  let said;
  try {
    said = { result: plain(await answer(JSON.parse(line))) };
  } catch (error) {
    said = { error: String(error?.stack ?? error) };
  }
  process.stdout.write(JSON.stringify(said) + '\n');
}
for (const child of workers.values()) child.kill('SIGKILL');
process.exit(0);
