/*
 * The client with the real fetch and real sockets, against a server in the manner of a
 * relay that holds requests. What a browser adds (CORS, caches) is tested in one.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { loadScript, until } from './fakes.mjs';

const { create } = loadScript();
const DATE = 'Sun, 06 Nov 1994 08:49:37 GMT';

/** Messages are numbered from 1, all of one second; request k waits for the message after its tag. */
class Relay {
  messages = [];
  held = new Set();
  seen = [];

  async listen() {
    this.server = createServer((request, response) => {
      this.seen.push({ url: request.url, headers: request.headers });
      const tag = Number((request.headers['if-none-match'] || '"0"').slice(1, -1));
      const waiter = { tag, response };
      this.held.add(waiter);
      response.on('close', () => this.held.delete(waiter));
      this.serve();
    });
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return `http://127.0.0.1:${this.server.address().port}/updates/a`;
  }

  publish(data) {
    this.messages.push(JSON.stringify(data));
    this.serve();
  }

  serve() {
    for (const waiter of this.held) {
      if (waiter.tag < this.messages.length) {
        this.held.delete(waiter);
        waiter.response.writeHead(200, { 'Last-Modified': DATE, Etag: `"${waiter.tag + 1}"` });
        waiter.response.end(this.messages[waiter.tag]);
      }
    }
  }

  async close() {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }
}

test('messages stored before and published while held arrive once each, in order', async () => {
  const relay = new Relay();
  const url = await relay.listen();
  const updates = create();
  const seen = [];
  try {
    relay.publish({ type: 'n', value: 1 });
    relay.publish({ type: 'n', value: 2 });
    updates.registerProcessor('a', 'n', (data) => seen.push(data.value));
    updates.subscribe({ a: url });
    await until(() => relay.held.size === 1 && seen.length === 2, 'the stored ones');
    relay.publish({ type: 'n', value: 3 });
    await until(() => relay.held.size === 1 && seen.length === 3, 'the new one');
    assert.deepEqual(seen, [1, 2, 3]);
    assert.equal(relay.seen[0].headers['if-modified-since'], undefined);
    assert.equal(relay.seen[3].headers['if-modified-since'], DATE);
    assert.equal(relay.seen[3].headers['if-none-match'], '"3"');
    assert.equal(relay.seen[3].url, '/updates/a');
  } finally {
    updates.close();
    await relay.close();
  }
});

test('suspend hangs up, which the relay sees, and resume loses and repeats nothing', async () => {
  const relay = new Relay();
  const url = await relay.listen();
  const updates = create();
  const seen = [];
  try {
    relay.publish({ type: 'n', value: 1 });
    updates.registerProcessor('a', 'n', (data) => seen.push(data.value));
    updates.subscribe({ a: url });
    await until(() => relay.held.size === 1 && seen.length === 1, 'the first');
    updates.suspend();
    await until(() => relay.held.size === 0, 'the hang-up');
    relay.publish({ type: 'n', value: 2 });
    updates.resume();
    await until(() => seen.length === 2, 'the second');
    assert.deepEqual(seen, [1, 2]);
  } finally {
    updates.close();
    await relay.close();
  }
});

test('a relay that was away is found again', async () => {
  const relay = new Relay();
  const url = await relay.listen();
  const updates = create();
  const seen = [];
  let problems = 0;
  try {
    updates.registerProcessor('a', 'n', (data) => seen.push(data.value));
    updates.subscribe({ a: url }, {
      backoff: () => 20,
      onerror: () => {
        problems += 1;
      },
    });
    await until(() => relay.held.size === 1, 'the first poll');
    await relay.close();
    await until(() => problems > 2, 'the failures');
    relay.server.listen(Number(new URL(url).port), '127.0.0.1');
    await once(relay.server, 'listening');
    relay.publish({ type: 'n', value: 1 });
    await until(() => seen.length === 1, 'the update');
    assert.deepEqual(seen, [1]);
  } finally {
    updates.close();
    await relay.close();
  }
});
