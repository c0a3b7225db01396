/*
 * eventsource (npm), EventSource for Node, and reconnecting-eventsource (npm), which wraps
 * one so that it never gives up: the client of django-eventstream's pages.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventSource } from 'eventsource';
import { openChromium, until, atEnd } from '../browser/browsing.mjs';
import { CuttingProxy, Relay, WORKERS, followThroughCuts, serveScripts } from './relaying.mjs';

for (const workers of WORKERS) {
  test(`eventsource gets each message once and sees the end, workers ${workers}`, async (t) => {
    const relay = await Relay.start(t, workers);
    const proxy = await CuttingProxy.start(t, relay.port);
    await relay.create('c');
    const seen = [];
    const errors = [];
    const source = new EventSource(`http://127.0.0.1:${proxy.port}/sub/c`);
    atEnd(t, () => source.close());
    source.addEventListener('message', ({ data, lastEventId: id }) => seen.push({ data, id }));
    source.addEventListener('error', ({ code }) => errors.push(code));

    await followThroughCuts(relay, proxy, 'c', () => seen);
    await relay.delete('c');
    await until(() => source.readyState === source.CLOSED, 'EventSource closed');
    assert.equal(errors.at(-1), 404);
  });

  test(`reconnecting-eventsource gets each message once, workers ${workers}`, async (t) => {
    const relay = await Relay.start(t, workers);
    const proxy = await CuttingProxy.start(t, relay.port);
    await relay.create('c');
    const browser = await openChromium(t);
    const page = await browser.newPage();
    await page.goto(await serveScripts(
      t, ['reconnecting-eventsource/dist/ReconnectingEventSource.min.js']));
    await page.evaluate((url) => {
      window.seen = [];
      window.states = [];
      window.source = new ReconnectingEventSource(url, { max_retry_time: 200 });
      window.source.addEventListener('message', ({ data, lastEventId: id }) => {
        window.seen.push({ data, id });
      });
      window.source.onerror = () => window.states.push('away');
      window.source.onopen = () => window.states.push('open');
    }, `http://127.0.0.1:${proxy.port}/sub/c`);
    const expected = await followThroughCuts(
      relay, proxy, 'c', () => page.evaluate(() => window.seen));

    // A browser's EventSource gives up after an answer that is none: a new one goes on.
    proxy.refuse();
    proxy.cut();
    await until(() => proxy.refused > 1, 'refused more than once');
    const more = ['published while it was away', 'and this'];
    const ids = await relay.publish('c', more);
    proxy.resume();
    more.forEach((data, i) => expected.push({ data, id: ids[i] }));
    await until(() => page.evaluate((n) => window.seen.length >= n, expected.length), 'the rest');
    await relay.holds('c', 1);
    assert.deepEqual(await page.evaluate(() => window.seen), expected);

    await relay.delete('c');
    await until(() => page.evaluate(() => window.states.at(-1) === 'away'), 'an error');
    await page.evaluate(() => window.source.close());
  });
}
