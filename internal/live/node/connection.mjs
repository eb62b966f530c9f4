// options are BullMQ's for a queue that a test names.
export function options({ host, port, password, prefix }) {
  return { prefix, connection: { host, port, password: password || undefined, maxRetriesPerRequest: null } };
}
