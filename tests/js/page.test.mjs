/*
 * The classic script in a page: the globals it sets, with each jQuery loaded for real, and
 * what it does when the page goes, comes back, is looked at, is online again.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import domino from 'domino';
import { World, runInPage, scriptText, settle } from './fakes.mjs';

/** A jQuery's own file, as a page would load it. */
function library(file) {
  return readFileSync(new URL(`../../node_modules/${file}`, import.meta.url), 'utf8');
}

const JQUERIES = [
  ['jquery-1.12/dist/jquery.js', '1.12.'],
  ['jquery-3.7/dist/jquery.js', '3.7.'],
  ['jquery-4.0/dist/jquery.js', '4.0.'],
  ['jquery-4.0/dist/jquery.slim.js', '4.0.'],
];

const ADDRESS = 'http://127.0.0.1:8000/poll/';

/** Set what an object holds or inherits as read only. */
function define(object, values) {
  Object.keys(values).forEach((name) => {
    Object.defineProperty(object, name, { value: values[name], writable: true, configurable: true });
  });
}

/**
 * A window with a document, in which fetch and timers are those of a World. The DOM is
 * domino's, enough for every jQuery; what it lacks of a page is added here.
 */
function openPage() {
  const world = new World();
  const { environment, clock } = world;
  const window = domino.createWindow('<!DOCTYPE html><p>page</p>', ADDRESS);
  define(window.document, { baseURI: ADDRESS, visibilityState: 'visible' });
  define(window, {
    location: { href: ADDRESS, origin: new URL(ADDRESS).origin },
    fetch: environment.fetch,
    setTimeout: clock.setTimeout,
    clearTimeout: clock.clearTimeout,
    performance: { now: environment.now },
    console: environment.console,
    AbortController,
    URL,
  });
  const listened = [];
  const listen = window.addEventListener;
  window.addEventListener = (type, ...rest) => {
    listened.push(type);
    listen.call(window, type, ...rest);
  };
  const send = (target, type) => {
    const event = window.document.createEvent('Event');
    event.initEvent(type, false, false);
    target.dispatchEvent(event);
    return settle();
  };
  return {
    world,
    window,
    listened,
    run: (text, filename = 'page.js') => runInPage(window, text, filename),
    send: (type) => send(window, type),
    look: (state) => {
      window.document.visibilityState = state;
      return send(window.document, 'visibilitychange');
    },
  };
}

for (const [file, version] of JQUERIES) {
  test(`with ${file} the documented script gets its update by $.updates`, async () => {
    const { world, window, run } = openPage();
    run(library(file), file);
    assert.ok(window.jQuery.fn.jquery.startsWith(version), window.jQuery.fn.jquery);
    assert.equal(typeof window.jQuery.ajax, file.includes('slim') ? 'undefined' : 'function');
    run(scriptText(), 'updates.js');
    assert.equal(window.jQuery.updates, window.Updates);
    run(`
      var values = [];
      jQuery.updates.registerProcessor('some_channel', 'answer', function (data) {
        values.push(data.value);
      });
      jQuery.updates.subscribe({'some_channel': '/updates/some_channel_id'});
    `);
    await settle();
    await world.last.message(1, { type: 'answer', value: 42 });
    assert.equal(window.values.join(), '42');
    assert.equal(world.sent, 2);
    assert.deepEqual(world.logged, []);
  });

  test(`with ${file} the global set-up of $.ajax is neither changed nor used`, async () => {
    const { world, window, run } = openPage();
    run(library(file), file);
    run(`
      var touched = false;
      if (jQuery.ajaxSetup) {
        jQuery.ajaxSetup({headers: {'X-CSRFToken': 'mine'}, beforeSend: function () { touched = true; }});
      }
      var before = JSON.stringify(jQuery.ajaxSettings);
    `);
    run(scriptText(), 'updates.js');
    run(`jQuery.updates.subscribe({a: '/updates/a'}); var after = JSON.stringify(jQuery.ajaxSettings);`);
    await settle();
    await world.last.message(1, {});
    assert.equal(window.after, window.before);
    assert.equal(window.touched, false);
    assert.deepEqual(Object.keys(world.last.headers), ['If-Modified-Since', 'If-None-Match']);
  });
}

test('jQuery in noConflict gets $.updates too', () => {
  const { window, run } = openPage();
  run(library('jquery-3.7/dist/jquery.js'));
  run('var $ = "mine"; var jq = jQuery.noConflict();');
  run(scriptText());
  assert.equal(window.jq.updates, window.Updates);
});

test('without jQuery the same functions are Updates', async () => {
  const { world, window, run } = openPage();
  run(scriptText());
  run(`
    var values = [];
    Updates.registerProcessor('a', 'answer', function (data) { values.push(data.value); });
    Updates.subscribe({a: '/updates/a'});
  `);
  await settle();
  await world.last.message(1, { type: 'answer', value: 42 });
  assert.equal(window.values.join(), '42');
  assert.equal(window.jQuery, undefined);
});

test('the script leaves one global behind', () => {
  const { window, run } = openPage();
  run('addEventListener("pageshow", function () {});'); // domino keeps listeners in a property
  const before = Object.keys(window);
  run(scriptText());
  assert.deepEqual(Object.keys(window).filter((name) => !before.includes(name)), ['Updates']);
});

test('jQuery that comes after the script can be given the functions', () => {
  const { window, run } = openPage();
  run(scriptText());
  run(library('jquery-4.0/dist/jquery.js'));
  assert.equal(window.jQuery.updates, undefined);
  run('jQuery.updates = Updates; jQuery.updates.subscribe({a: "/updates/a"});');
});

test('pagehide aborts, pageshow goes on from the same position', async () => {
  const { world, run, send } = openPage();
  run(scriptText());
  run('Updates.subscribe({a: "/updates/a", b: "/updates/b"});');
  await settle();
  await world.requests[0].message(7, {});
  const [, b, a] = world.requests;
  await send('pagehide');
  assert.deepEqual([a.aborted, b.aborted], [true, true]);
  await world.clock.pass(1e6);
  assert.equal(world.sent, 3);
  await send('pageshow');
  assert.equal(world.sent, 5);
  assert.deepEqual(world.requests.slice(3).map(({ url, headers }) => [url, headers['If-None-Match']]),
    [['/updates/a', '"7"'], ['/updates/b', undefined]]);
});

test('an abort by pagehide is no error', async () => {
  const { world, window, run, send } = openPage();
  run(scriptText());
  run('var problems = []; Updates.subscribe({a: "/u"}, {onerror: function (n, p) { problems.push(p); }});');
  await settle();
  await send('pagehide');
  await send('pageshow');
  assert.equal(window.problems.length, 0);
  assert.equal(world.sent, 2);
});

test('the first pageshow of a page starts nothing twice', async () => {
  const { world, run, send } = openPage();
  run(scriptText());
  run('Updates.subscribe({a: "/updates/a"});');
  await send('pageshow');
  assert.equal(world.sent, 1);
  assert.equal(world.last.aborted, false);
});

test('nothing listens to unload or beforeunload', () => {
  const { run, listened } = openPage();
  run(scriptText());
  run('Updates.subscribe({a: "/updates/a"});');
  assert.deepEqual(listened.sort(), ['online', 'pagehide', 'pageshow']);
});

test('a page that comes back to view tries at once', async () => {
  const { world, run, look } = openPage();
  run(scriptText());
  run('Updates.subscribe({a: "/updates/a"}, {backoff: function () { return 30000; }});');
  await settle();
  await world.last.fail();
  await look('hidden');
  assert.equal(world.sent, 1);
  await look('visible');
  assert.equal(world.sent, 2);
  await world.clock.pass(30000);
  assert.equal(world.sent, 2);
});

test('a page that is online again tries at once', async () => {
  const { world, run, send } = openPage();
  run(scriptText());
  run('Updates.subscribe({a: "/updates/a"}, {backoff: function () { return 30000; }});');
  await settle();
  await world.last.fail();
  await send('online');
  assert.equal(world.sent, 2);
});

test('view and online leave a held request alone', async () => {
  const { world, run, send, look } = openPage();
  run(scriptText());
  run('Updates.subscribe({a: "/updates/a"});');
  await settle();
  await look('visible');
  await send('online');
  assert.equal(world.sent, 1);
  assert.equal(world.last.aborted, false);
});

test('the page tells its own origin from others, by which the position is sent', async () => {
  for (const [url, foreign] of [
    ['/updates/a', false],
    ['http://127.0.0.1:8000/updates/a', false],
    ['//127.0.0.1:8000/updates/a', false],
    ['http://127.0.0.1:8001/updates/a', true],
    ['http://localhost:8000/updates/a', true],
  ]) {
    const { world, run } = openPage();
    run(scriptText());
    run(`Updates.subscribe({a: ${JSON.stringify(url)}});`);
    await settle();
    await world.last.message(7, {}, { 'Cache-Control': 'no-cache, etag="7"' });
    assert.equal('If-None-Match' in world.last.headers, !foreign, url);
    assert.equal(world.last.url.includes('last_event_id='), foreign, url);
  }
});
