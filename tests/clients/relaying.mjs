/*
 * What the tests of JavaScript clients share: a relay, a proxy before it that cuts
 * connections, and what each client must show.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer } from 'node:net';
import { BINARY, Program, ROOT, atEnd, until } from '../browser/browsing.mjs';

export const WORKERS = (process.env.PUSHSERVER_WORKERS || '1 4').split(' ').map(Number);

/** A relay with a publisher at /pub/ and a subscriber at /sub/ that any page may read. */
export class Relay {
  constructor(port) {
    this.port = port;
  }

  static async start(t, workers, subscriber = {}) {
    const program = new Program(t, [BINARY, '-c', '-'], {
      input: JSON.stringify({
        address: '127.0.0.1',
        port: 0,
        workers,
        locations: [
          { type: 'publisher', prefix: '/pub/' },
          { type: 'subscriber', prefix: '/sub/', retry: 1, ...subscriber },
        ],
      }),
    });
    await program.says('listening on');
    return new Relay(Number(/listening on \S*:(\d+)/.exec(program.output)[1]));
  }

  async #ask(method, channel, { body, type } = {}) {
    const headers = { Accept: 'application/json', ...type && { 'Content-Type': type } };
    const url = `http://127.0.0.1:${this.port}/pub/${channel}`;
    const response = await fetch(url, { method, headers, body });
    return { status: response.status, info: response.ok ? await response.json() : null };
  }

  async create(channel) {
    assert.equal((await this.#ask('PUT', channel)).status, 200);
  }

  /** Publish one after another; return their ids. */
  async publish(channel, bodies, type = 'text/plain; charset=utf-8') {
    const ids = [];
    for (const body of bodies) {
      const { status, info } = await this.#ask('POST', channel, { body, type });
      assert.ok(status === 201 || status === 202, `status ${status}`);
      ids.push(info.last_message_id);
    }
    return ids;
  }

  async delete(channel) {
    assert.equal((await this.#ask('DELETE', channel)).status, 200);
  }

  /** Wait until so many subscribers are held. */
  async holds(channel, count) {
    await until(async () => {
      const { info } = await this.#ask('GET', channel);
      return (info ? info.subscribers : 0) === count;
    }, `${count} held`);
  }
}

/** A TCP proxy to a port of loopback; says its own, and resets what goes through it. */
export class CuttingProxy {
  #links = new Set();
  #refusal = null;

  static async start(t, target) {
    const proxy = new CuttingProxy();
    const server = createServer({ allowHalfOpen: true }, (client) => proxy.#serve(client, target));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    proxy.port = server.address().port;
    atEnd(t, () => {
      proxy.#reset();
      server.close();
    });
    return proxy;
  }

  #serve(client, target) {
    client.on('error', () => {});
    if (this.#refusal !== null) {
      this.refused += 1;
      client.end(this.#refusal);
      client.resume();
      return;
    }
    const relay = connect({ port: target, host: '127.0.0.1', allowHalfOpen: true });
    const link = { client, relay };
    this.#links.add(link);
    relay.on('error', () => client.resetAndDestroy());
    client.on('error', () => relay.resetAndDestroy());
    relay.on('close', () => this.#links.delete(link));
    client.pipe(relay);
    relay.pipe(client);
  }

  #reset() {
    for (const { client, relay } of this.#links) {
      client.resetAndDestroy();
      relay.resetAndDestroy();
    }
    this.#links.clear();
  }

  /** Reset all connections, at both ends. New ones may come at once. */
  cut() {
    assert.ok(this.#links.size > 0, 'nothing to cut');
    this.#reset();
  }

  /** From now on answer as a proxy does whose relay is away; undo that by resume(). */
  refuse() {
    this.refused = 0;
    this.#refusal = 'HTTP/1.1 502 Bad Gateway\r\nAccess-Control-Allow-Origin: *\r\n'
      + 'Content-Length: 0\r\nConnection: close\r\n\r\n';
  }

  resume() {
    this.#refusal = null;
  }
}

/** A site of one empty page with classic scripts of node_modules; returns its URL. */
export async function serveScripts(t, scripts = []) {
  const tags = scripts.map((_, i) => `<script src="/${i}.js"></script>`).join('');
  const site = createHttpServer((request, response) => {
    const file = scripts[Number.parseInt(request.url.slice(1), 10)];
    response.setHeader('Content-Type', file ? 'text/javascript' : 'text/html; charset=utf-8');
    response.end(file ? readFileSync(`${ROOT}node_modules/${file}`) : `<!doctype html>${tags}`);
  });
  site.listen(0, '127.0.0.1');
  await once(site, 'listening');
  atEnd(t, () => {
    site.closeAllConnections();
    site.close();
  });
  return `http://127.0.0.1:${site.address().port}/`;
}

/** Texts with what is easily spoilt on the way: line ends, blanks, other scripts. */
const texts = (first, count) => Array.from({ length: count }, (_, i) => {
  const n = first + i;
  return `message ${n}${['', '\nof two lines', ' ', '\n', ': with a colon', ' – é 漢 😀'][n % 6]}`;
});

/**
 * What every client must show: messages from before it came and those of a burst, each once
 * and in order, through several cuts.
 *
 * relay, proxy: as above; the client goes through the proxy.
 * seen(): the list of {data, id} that the client has got so far.
 */
export async function followThroughCuts(relay, proxy, channel, seen, cuts = 3) {
  const expected = [];
  const publish = async (count) => {
    const bodies = texts(expected.length, count);
    const ids = await relay.publish(channel, bodies);
    bodies.forEach((data, i) => expected.push({ data, id: ids[i] }));
  };
  const allSeen = async () => {
    let got;
    await until(async () => {
      got = await seen();
      return got.length >= expected.length;
    }, 'all messages').catch((error) => {
      error.message += `: ${JSON.stringify(got)}`;
      throw error;
    });
    assert.deepEqual(got, expected);
  };

  await allSeen();
  for (let i = 0; i < cuts; i++) {
    await relay.holds(channel, 1);
    await publish(8);
    await allSeen();
    proxy.cut();
    await publish(8); // while the client is away, or just back
    await allSeen();
  }
  await relay.holds(channel, 1);
  return expected;
}
