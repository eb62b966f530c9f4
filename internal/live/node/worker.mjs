// One BullMQ Worker in a process of its own, so that it can be killed as a
// real one is. It ends in good order when the driver lets go of it.
import { options } from './connection.mjs';

const { major, queue, work, options: extra } = JSON.parse(process.argv[2]);
const { Worker } = await import(`bullmq${major}`);

const does = {
  complete: async () => 'done',
  fail: async () => { throw new Error('as the test asked'); },
  block: () => new Promise(() => {}),
};

// takes returns the work that takes so many milliseconds and completes.
const takes = (ms) => () => new Promise((done) => { setTimeout(done, ms, 'done'); });

const worker = new Worker(queue.name, typeof work === 'number' ? takes(work) : does[work], { ...options(queue), ...extra });
worker.on('error', (error) => console.error(error));
process.on('disconnect', async () => {
  await worker.close(work === 'block'); // a job that never ends must not be waited for
  process.exit(0);
});
await worker.waitUntilReady();
process.send('ready');
