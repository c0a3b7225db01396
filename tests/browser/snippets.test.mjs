/*
 * The snippets of docs/browser.md, as they are printed but for the ports, in a page with
 * jQuery and one without.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { test } from 'node:test';
import { BINARY, Program, ROOT, atEnd, freePorts, openChromium, until } from './browsing.mjs';

const DOCUMENT = readFileSync(`${ROOT}docs/browser.md`, 'utf8');
const blocks = (language) =>
  [...DOCUMENT.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))]
    .map((match) => match[1]);
const [WITH_JQUERY, AS_MODULE] = blocks('html');
const [UPDATE] = blocks('json');

/** A site of these pages and the client; returns its origin. */
async function serve(t, pages) {
  const files = {
    '/static/jquery.js': `${ROOT}node_modules/jquery-3.7/dist/jquery.js`,
    '/static/pushserver/updates.js': `${ROOT}js/updates.js`,
    '/static/pushserver/updates.mjs': `${ROOT}js/updates.mjs`,
  };
  const site = createServer((request, response) => {
    const html = pages[request.url];
    const file = files[request.url];
    if (html === undefined && file === undefined) {
      response.writeHead(404).end();
      return;
    }
    response.setHeader('Content-Type', html ? 'text/html; charset=utf-8' : 'text/javascript');
    response.end(html || readFileSync(file));
  });
  site.listen(0, '127.0.0.1');
  await once(site, 'listening');
  atEnd(t, () => {
    site.closeAllConnections();
    site.close();
  });
  return `http://127.0.0.1:${site.address().port}`;
}

/** A relay whose updates a page of this origin may have; returns its own origin. */
async function startRelay(t, origin) {
  const [port] = await freePorts(1);
  const relay = new Program(t, [BINARY, '-c', '-'], {
    input: JSON.stringify({
      address: '127.0.0.1',
      port,
      locations: [
        { type: 'subscriber', url: '/updates/([^/]+)', create_on_get: true,
          allow_origin: origin, allow_credentials: true },
        { type: 'publisher', url: '/send-update/([^/]+)' },
      ],
    }),
  });
  await relay.says('listening');
  return `http://127.0.0.1:${port}`;
}

async function publish(relay, channel, body) {
  const response = await fetch(`${relay}/send-update/${channel}`, { method: 'POST', body });
  return response.status;
}

/** What the page says with alert(), in order. */
function alerts(page) {
  const said = [];
  page.on('dialog', async (dialog) => {
    const message = dialog.message();
    try {
      await dialog.accept();
    } catch (error) {
      // One more than the test waits for may be open when the browser goes.
      if (!page.isClosed()) throw error;
    }
    said.push(message);
  });
  return said;
}

test('the snippet with jQuery 3.7 shows what is published', async (t) => {
  const pages = {};
  const site = await serve(t, pages);
  const relay = await startRelay(t, site);
  assert.ok(WITH_JQUERY.includes('http://127.0.0.1:8001/'));
  pages['/'] = `<!doctype html>${WITH_JQUERY.replace('http://127.0.0.1:8001', relay)}`;
  const browser = await openChromium(t);
  const page = await browser.newPage();
  const said = alerts(page);
  await page.goto(`${site}/`);

  // 201: the relay holds the page's poll.
  await until(async () => await publish(relay, 'some_channel_id', UPDATE) === 201, 'a 201');
  await until(() => said.length > 0, 'an alert');
  const before = said.length;
  await publish(relay, 'some_channel_id', '{"type": "answer", "value": "once more"}');
  await until(() => said.length > before, 'another alert');
  assert.deepEqual(new Set(said), new Set(['42', 'once more']));
  assert.match(await page.evaluate(() => $.fn.jquery), /^3\.7\./);
  assert.equal(await page.evaluate(() => $.updates === Updates), true);
});

test('the snippet of the module shows what is published', async (t) => {
  const pages = {};
  const site = await serve(t, pages);
  const relay = await startRelay(t, site);
  assert.ok(AS_MODULE.includes("'/updates/poll-1'"));
  pages['/'] = `<!doctype html>${AS_MODULE.replace('/updates/poll-1', `${relay}/updates/poll-1`)}`;
  const browser = await openChromium(t);
  const page = await browser.newPage();
  const said = alerts(page);
  await page.goto(`${site}/`);
  await until(async () => await publish(relay, 'poll-1', UPDATE) === 201, 'a 201');
  await until(() => said.includes('42'), 'an alert');
});
