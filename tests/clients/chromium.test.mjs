/*
 * Chromium's own EventSource and WebSocket, in a page of another origin than the relay's.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openChromium, until } from '../browser/browsing.mjs';
import { CuttingProxy, Relay, WORKERS, followThroughCuts, serveScripts } from './relaying.mjs';

async function openPage(t) {
  const browser = await openChromium(t);
  const page = await browser.newPage();
  await page.goto(await serveScripts(t));
  return page;
}

for (const workers of WORKERS) {
  test(`EventSource gets each message once and sees the end, workers ${workers}`, async (t) => {
    const relay = await Relay.start(t, workers);
    const proxy = await CuttingProxy.start(t, relay.port);
    await relay.create('c');
    const page = await openPage(t);
    await page.evaluate((url) => {
      window.seen = [];
      window.source = new EventSource(url);
      window.source.onmessage = ({ data, lastEventId }) => {
        window.seen.push({ data, id: lastEventId });
      };
    }, `http://127.0.0.1:${proxy.port}/sub/c`);

    await followThroughCuts(relay, proxy, 'c', () => page.evaluate(() => window.seen));
    await relay.delete('c');
    // The channel is gone: the browser asks once more, is told 404, and gives up for good.
    await until(() => page.evaluate(() => window.source.readyState === EventSource.CLOSED),
      'EventSource closed');
  });

  test(`EventSource hears an event's name and lines as published, workers ${workers}`,
    async (t) => {
      const relay = await Relay.start(t, workers, { event: 'update' });
      await relay.create('c');
      const page = await openPage(t);
      await page.evaluate((url) => {
        window.seen = [];
        const source = new EventSource(url);
        const note = ({ type, data }) => window.seen.push(`${type}: ${data}`);
        source.addEventListener('update', note);
        source.addEventListener('message', note);
        source.addEventListener('error', note);
      }, `http://127.0.0.1:${relay.port}/sub/c`);
      await relay.holds('c', 1);
      await relay.publish('c', ['x\rid: 1\revent: forged', 'a\r\nb', '', '\n']);
      await until(() => page.evaluate(() => window.seen.length >= 4), 'four events');
      assert.deepEqual(await page.evaluate(() => window.seen),
        ['update: x\nid: 1\nevent: forged', 'update: a\nb', 'update: ', 'update: \n']);
    });

  test(`WebSocket gets each message once and sees the end, workers ${workers}`, async (t) => {
    const relay = await Relay.start(t, workers, { deflate: true });
    const proxy = await CuttingProxy.start(t, relay.port);
    await relay.create('c');
    const page = await openPage(t);
    await page.evaluate((url) => {
      window.seen = [];
      window.closes = [];
      const open = () => {
        const last = window.seen.at(-1);
        const query = last ? `?last_event_id=${last.id}` : '';
        const socket = new WebSocket(url + query, 'ws+meta.nchan');
        window.socket = socket;
        socket.onmessage = ({ data }) => {
          const [, id, body] = /^id: (.*)\ncontent-type: .*\n\n([^]*)$/.exec(data);
          window.seen.push({ data: body, id });
        };
        socket.onclose = ({ code, wasClean }) => {
          window.closes.push({ code, wasClean });
          if (!wasClean) open();
        };
      };
      open();
    }, `ws://127.0.0.1:${proxy.port}/sub/c`);

    await followThroughCuts(relay, proxy, 'c', () => page.evaluate(() => window.seen));
    assert.match(await page.evaluate(() => window.socket.extensions), /^permessage-deflate/);
    await relay.delete('c');
    await until(() => page.evaluate(() => window.closes.at(-1).wasClean), 'a clean close');
    assert.deepEqual(await page.evaluate(() => window.closes),
      [...Array(3).fill({ code: 1006, wasClean: false }), { code: 1001, wasClean: true }]);
  });

  test(`WebSocket gets binary messages, and bare text without the subprotocol, workers ${workers}`,
    async (t) => {
      const relay = await Relay.start(t, workers, { deflate: true });
      await relay.create('c');
      const page = await openPage(t);
      await page.evaluate((url) => {
        window.seen = [];
        const socket = new WebSocket(url);
        socket.binaryType = 'arraybuffer';
        socket.onmessage = ({ data }) => {
          window.seen.push(typeof data === 'string' ? data : [...new Uint8Array(data)]);
        };
      }, `ws://127.0.0.1:${relay.port}/sub/c`);
      await relay.holds('c', 1);
      await relay.publish('c', ['text']);
      await relay.publish('c', [Uint8Array.of(0, 255, 128, 10)], 'application/octet-stream');
      await relay.publish('c', [Uint8Array.of(0xc3, 0x28)]); // said to be text, but not UTF-8
      await until(() => page.evaluate(() => window.seen.length >= 3), 'three messages');
      assert.deepEqual(await page.evaluate(() => window.seen),
        ['text', [0, 255, 128, 10], [0xc3, 0x28]]);
    });
}
