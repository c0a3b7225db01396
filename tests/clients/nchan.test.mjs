/*
 * NchanSubscriber.js (npm: nchan), Nchan's own browser client, with each of its transports.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openChromium, until } from '../browser/browsing.mjs';
import { CuttingProxy, Relay, WORKERS, followThroughCuts, serveScripts } from './relaying.mjs';

async function openPage(t) {
  const browser = await openChromium(t);
  const page = await browser.newPage();
  await page.goto(await serveScripts(t, ['nchan/NchanSubscriber.js']));
  await page.evaluate(() => {
    window.seen = [];
    window.happened = [];
    // As a page uses it. Its long polls give an id with the Etag as it came, in quotes.
    window.subscribe = (url, options) => {
      window.sub = new NchanSubscriber(url, { reconnectTimeout: 100, ...options });
      window.sub.on('message', (data, { id }) => {
        window.seen.push({ data, id: id.replaceAll('"', '') });
      });
      for (const name of ['connect', 'disconnect', 'error']) {
        window.sub.on(name, (what) => window.happened.push([name, what?.code ?? what]));
      }
      window.sub.start();
    };
  });
  return page;
}

const subscribe = (page, origin, options) => page.evaluate(
  ([url, how]) => window.subscribe(url, how), [`${origin}/sub/c`, options]);
const at = ({ port }) => `http://127.0.0.1:${port}`;
const seen = (page) => page.evaluate(() => window.seen);
const seenTexts = async (page) => (await seen(page)).map(({ data }) => data);
const seesTexts = async (page, expected) => {
  await until(async () => (await seen(page)).length >= expected.length, `${expected}`);
  assert.deepEqual(await seenTexts(page), expected);
};

// What tells a page that its channel is gone, before the subscriber begins to ask for it anew.
const ENDS = {
  websocket: ['disconnect', 1001],
  eventsource: null, // an EventSource does not tell why
  longpoll: ['error', 410],
};
const TRANSPORTS = Object.keys(ENDS);

for (const workers of WORKERS) {
  for (const [subscriber, end] of Object.entries(ENDS)) {
    test(`NchanSubscriber by ${subscriber}: each message once, workers ${workers}`, async (t) => {
      const relay = await Relay.start(t, workers);
      const proxy = await CuttingProxy.start(t, relay.port);
      await relay.create('c');
      const page = await openPage(t);
      await subscribe(page, at(proxy), { subscriber });
      await followThroughCuts(relay, proxy, 'c', () => seen(page));

      const before = await page.evaluate(() => window.happened.length);
      await relay.delete('c');
      const happened = () => page.evaluate((from) => window.happened.slice(from), before);
      if (end !== null) {
        await until(async () => (await happened()).length > 0, 'something happens');
        assert.deepEqual((await happened())[0], end);
      } else {
        await until(() => page.evaluate(
          () => window.sub.transport.listener.readyState === EventSource.CLOSED), 'closed');
      }
      await page.evaluate(() => window.sub.stop());
    });
  }

  test(`NchanSubscriber goes on after a time-out, and after a stop, workers ${workers}`,
    async (t) => {
      for (const subscriber of TRANSPORTS) {
        const relay = await Relay.start(t, workers, { timeout: 1 });
        await relay.create('c');
        const page = await openPage(t);
        // Its long polls then come with a header Etag, which the page of another origin must
        // be allowed to send.
        await subscribe(page, at(relay), { subscriber });
        await relay.publish('c', ['a', 'b']);
        await seesTexts(page, ['a', 'b']);
        const ends = subscriber === 'longpoll' ? 'error' : 'disconnect';
        await until(() => page.evaluate(
          (name) => window.happened.filter(([what]) => what === name).length >= 2, ends),
        'two time-outs');
        await relay.publish('c', ['c', 'd']);
        await seesTexts(page, ['a', 'b', 'c', 'd']);

        await page.evaluate(() => window.sub.stop());
        await relay.holds('c', 0);
        await relay.publish('c', ['e', 'f']);
        await page.evaluate(() => window.sub.start());
        await seesTexts(page, ['a', 'b', 'c', 'd', 'e', 'f']);
        await page.evaluate(() => window.sub.stop());
      }
    });

  test(`NchanSubscriber goes on in a page loaded anew, workers ${workers}`, async (t) => {
    for (const subscriber of ['websocket', 'eventsource']) {
      const relay = await Relay.start(t, workers);
      await relay.create('c');
      const page = await openPage(t);
      const options = { subscriber, reconnect: 'session' };
      await subscribe(page, at(relay), options);
      await relay.publish('c', ['before']);
      await seesTexts(page, ['before']);
      await relay.holds('c', 1);
      await page.evaluate(() => window.sub.stop());
      await relay.publish('c', ['between']);
      await page.evaluate(() => { window.seen = []; });
      // A subscriber of its own, which has nothing but what the first left in sessionStorage.
      await subscribe(page, at(relay), options);
      await relay.holds('c', 1);
      await relay.publish('c', ['after']);
      await seesTexts(page, ['between', 'after']);
      await page.evaluate(() => window.sub.stop());
    }
  });
}
