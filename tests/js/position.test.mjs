/* What a request says, and how an answer moves the position. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DATE, SECOND, World, loadScript, settle } from './fakes.mjs';

const { create } = loadScript();

async function start(options, foreign = false) {
  const world = new World();
  world.foreign = foreign;
  const updates = create(world.environment);
  const seen = [];
  updates.registerProcessor('poll', 'answer', (data) => seen.push(data.value));
  updates.subscribe({ poll: '/updates/poll-1' }, options);
  await settle();
  return { world, updates, seen };
}

/** The token that a relay of ours repeats in Cache-Control. */
function token(tag) {
  return { 'Cache-Control': `no-cache, etag="${tag}"` };
}

test('the first request has no position: the oldest message, no preflight', async () => {
  const { world } = await start();
  assert.equal(world.last.url, '/updates/poll-1');
  assert.deepEqual(world.last.headers, {});
});

test('requests pass by the cache of the browser and add no query', async () => {
  const { world } = await start();
  await world.last.message(1, {});
  assert.deepEqual(world.requests.map((request) => request.init.cache), ['no-store', 'no-store']);
  assert.deepEqual(world.requests.map((request) => request.url), ['/updates/poll-1', '/updates/poll-1']);
});

test('requests go with credentials, and without where the option says so', async () => {
  assert.equal((await start()).world.last.init.credentials, 'include');
  assert.equal((await start({ credentials: true })).world.last.init.credentials, 'include');
  assert.equal((await start({ credentials: undefined })).world.last.init.credentials, 'include');
  assert.equal((await start({ credentials: false })).world.last.init.credentials, 'omit');
});

test('the next request sends Last-Modified and Etag back as they came', async () => {
  const { world } = await start();
  await world.last.message(7, {});
  assert.deepEqual(world.last.headers, { 'If-Modified-Since': DATE, 'If-None-Match': '"7"' });
  await world.last.answer(200, { 'Last-Modified': DATE, Etag: 'W/"8-gzip"' }, '{}');
  assert.deepEqual(world.last.headers, { 'If-Modified-Since': DATE, 'If-None-Match': 'W/"8-gzip"' });
});

for (const [from, tag] of [
  ['no-cache, etag="7"', '"7"'],
  ['no-cache, etag=7', '7'],
  ['etag=7', '7'],
  ['etag=7, no-transform', '7'],
  ['no-cache, etag="7", no-transform', '"7"'],
]) {
  test(`where Etag is hidden, the tag of Cache-Control: ${from} is taken`, async () => {
    const { world } = await start();
    await world.last.answer(200, { 'Last-Modified': DATE, 'Cache-Control': from }, '{}');
    assert.deepEqual(world.last.headers, { 'If-Modified-Since': DATE, 'If-None-Match': tag });
  });
}

test('Etag goes before the tag of Cache-Control', async () => {
  const { world } = await start();
  await world.last.answer(200, { 'Last-Modified': DATE, Etag: '0', 'Cache-Control': 'etag=9' }, '{}');
  assert.equal(world.last.headers['If-None-Match'], '0');
});

test('a message without any tag is resumed by its date alone', async () => {
  const { world } = await start();
  await world.last.answer(200, { 'Last-Modified': DATE }, '{}');
  assert.deepEqual(world.last.headers, { 'If-Modified-Since': DATE });
});

test('a time-out keeps the position, also if its answer has none', async () => {
  const { world } = await start();
  await world.last.message(7, {});
  await world.clock.pass(55000);
  await world.last.answer(304);
  await world.clock.pass(55000);
  await world.last.answer(304, { 'Last-Modified': DATE, Etag: '"7"' });
  assert.equal(world.sent, 4);
  assert.deepEqual(world.last.headers, { 'If-Modified-Since': DATE, 'If-None-Match': '"7"' });
});

test('an error keeps the position', async () => {
  const { world, seen } = await start();
  await world.last.message(7, { type: 'answer', value: 1 });
  for (const status of [404, 409, 410, 503]) {
    await world.last.answer(status, { 'Last-Modified': 'Mon, 07 Nov 1994 08:49:37 GMT', Etag: '"99"' },
      '{"type": "answer", "value": "an error"}');
    await world.clock.pass(60000);
    assert.deepEqual(world.last.headers, { 'If-Modified-Since': DATE, 'If-None-Match': '"7"' });
  }
  assert.deepEqual(seen, [1]);
});

test('the position is recorded before any processor runs', async () => {
  const world = new World();
  const updates = create(world.environment);
  updates.registerProcessor('poll', 'answer', () => {
    // What the page does when it goes away in the middle of a processor and comes back.
    updates.suspend();
    updates.resume();
  });
  updates.subscribe({ poll: '/updates/poll-1' });
  await world.last.message(7, { type: 'answer' });
  assert.equal(world.sent, 2);
  assert.equal(world.last.headers['If-None-Match'], '"7"');
});

test('a body that breaks off is asked for again', async () => {
  const { world, seen } = await start();
  world.last.resolve(new Response(new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode('{"type": "answer", "value": 1}'));
      controller.error(new TypeError('network error'));
    },
  }), { headers: { 'Last-Modified': DATE, Etag: '"7"' } }));
  await settle();
  assert.deepEqual(seen, []);
  await world.clock.pass(500);
  assert.deepEqual(world.last.headers, {});
  await world.last.message(7, { type: 'answer', value: 1 });
  assert.deepEqual(seen, [1]);
});

for (const etag of ['"7"', 'W/"7"', '7', '"7-gzip"']) {
  test(`a 200 with the very position asked from (${etag}) is dropped and backs off`, async () => {
    const problems = [];
    const { world, seen } = await start({ onerror: (_name, problem) => problems.push(problem) });
    await world.last.message(7, { type: 'answer', value: 1 });
    await world.last.answer(200, { 'Last-Modified': DATE, Etag: etag }, '{"type": "answer", "value": 1}');
    assert.deepEqual(seen, [1]);
    assert.equal(world.sent, 2);
    assert.equal(problems.length, 1);
    assert.equal(problems[0].status, 200);
    assert.match(problems[0].message, /cached/);
    await world.clock.pass(500);
    await world.last.answer(200, { 'Last-Modified': DATE, Etag: etag }, '{"type": "answer", "value": 1}');
    await world.clock.pass(999);
    assert.equal(world.sent, 3);
    await world.clock.pass(1);
    assert.equal(world.sent, 4);
    assert.deepEqual(seen, [1]);
  });
}

test('messages of one second, and one of an earlier second, are all new', async () => {
  const { world, seen } = await start();
  await world.last.message(7, { type: 'answer', value: 1 });
  await world.last.message(8, { type: 'answer', value: 2 });
  await world.last.answer(200, { 'Last-Modified': 'Sun, 06 Nov 1994 08:49:36 GMT', Etag: '"8"' },
    '{"type": "answer", "value": 3}');
  assert.deepEqual(seen, [1, 2, 3]);
});

test('a 200 without a position is no message: dropped, backs off', async () => {
  const problems = [];
  const { world, seen } = await start({ onerror: (_name, problem) => problems.push(problem) });
  await world.last.answer(200, { Etag: '"1"' }, '{"type": "answer", "value": "some other page"}');
  assert.deepEqual(seen, []);
  assert.equal(world.sent, 1);
  assert.match(problems[0].message, /no Last-Modified/);
});

test('a gap is told before the update that follows it, and polling goes on', async () => {
  const order = [];
  const { world, updates } = await start({ ongap: (name) => order.push(`gap in ${name}`) });
  updates.registerProcessor('poll', 'answer', (data) => order.push(data.value));
  await world.last.message(1, { type: 'answer', value: 1 });
  await world.last.message(9, { type: 'answer', value: 9 }, { 'X-Push-Gap': '1' });
  await world.last.message(10, { type: 'answer', value: 10 });
  assert.deepEqual(order, [1, 'gap in poll', 9, 10]);
  assert.equal(world.sent, 4);
});

test('an ongap that throws is shown and stops nothing', async () => {
  const { world, seen } = await start({
    ongap: () => {
      throw new Error('mine');
    },
  });
  await world.last.message(9, { type: 'answer', value: 9 }, { 'X-Push-Gap': '1' });
  assert.deepEqual(seen, [9]);
  assert.equal(world.sent, 2);
  assert.match(world.logged[0][1], /ongap failed/);
});

test('an ongap that unsubscribes gets no update after it', async () => {
  const world = new World();
  const updates = create(world.environment);
  const seen = [];
  updates.registerProcessor('poll', 'answer', (data) => seen.push(data));
  updates.subscribe({ poll: '/updates/poll-1' }, { ongap: (name) => updates.unsubscribe(name) });
  await world.last.message(9, { type: 'answer' }, { 'X-Push-Gap': '1' });
  await world.clock.pass(1e6);
  assert.deepEqual(seen, []);
  assert.equal(world.sent, 1);
});

test('a relay on another origin that quotes its token is resumed by query, without preflight', async () => {
  const { world, seen } = await start({}, true);
  await world.last.message(7, { type: 'answer', value: 1 }, token(7));
  assert.equal(world.last.url, `/updates/poll-1?last_event_id=${SECOND}:7`);
  assert.deepEqual(world.last.headers, {});
  await world.last.message(8, { type: 'answer', value: 2 }, token(8));
  assert.equal(world.last.url, `/updates/poll-1?last_event_id=${SECOND}:8`);
  await world.last.message(8, { type: 'answer', value: 2 }, token(8));
  assert.deepEqual(seen, [1, 2]);
});

test('on the page\'s own origin there is no preflight, so headers it is', async () => {
  const { world } = await start({}, false);
  await world.last.message(7, {}, token(7));
  assert.equal(world.last.url, '/updates/poll-1');
  assert.equal(world.last.headers['If-None-Match'], '"7"');
});

test('the HTTP push module and Nchan, whose token has no quotes, get headers', async () => {
  const { world } = await start({}, true);
  await world.last.message(7, {}, { 'Cache-Control': 'etag=7' });
  assert.equal(world.last.url, '/updates/poll-1');
  assert.equal(world.last.headers['If-None-Match'], '"7"');
});

test('resumeBy: headers sends headers to another origin too', async () => {
  const { world } = await start({ resumeBy: 'headers' }, true);
  await world.last.message(7, {}, token(7));
  assert.equal(world.last.url, '/updates/poll-1');
  assert.equal(world.last.headers['If-Modified-Since'], DATE);
});

test('resumeBy: query appends to a query that is there and drops a fragment', async () => {
  const world = new World();
  const updates = create(world.environment);
  updates.subscribe({ poll: '/updates/poll?key=1#top' }, { resumeBy: 'query' });
  await world.last.answer(200, { 'Last-Modified': DATE, Etag: '[0],-' }, '{}');
  assert.equal(world.last.url, `/updates/poll?key=1&last_event_id=${SECOND}:%5B0%5D%2C-`);
});

test('resumeBy: query falls back to headers where date or tag cannot be written as a query', async () => {
  const { world } = await start({ resumeBy: 'query' });
  await world.last.answer(200, { 'Last-Modified': 'some day', Etag: '"1"' }, '{}');
  assert.deepEqual(world.last.headers, { 'If-Modified-Since': 'some day', 'If-None-Match': '"1"' });
  await world.last.answer(200, { 'Last-Modified': DATE }, '{}');
  assert.deepEqual(world.last.headers, { 'If-Modified-Since': DATE });
});
