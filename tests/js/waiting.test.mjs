/* When the next request goes out: time-outs, errors, back-off, spinning. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { World, loadScript, settle } from './fakes.mjs';

const { create, fullJitter } = loadScript();

async function start(options) {
  const world = new World();
  const updates = create(world.environment);
  const problems = [];
  const onerror = (name, problem) => problems.push({ name, ...problem });
  updates.subscribe({ poll: '/updates/poll-1' }, { onerror, ...options });
  await settle();
  return { world, updates, problems };
}

test('after a message the next request goes out at once, without a timer', async () => {
  const { world } = await start({ timeout: 0 });
  const before = world.clock.made;
  for (let tag = 1; tag <= 50; tag++) {
    await world.last.message(tag, {});
  }
  assert.equal(world.sent, 51);
  assert.equal(world.clock.made, before);
});

for (const status of [304, 408, 204]) {
  test(`${status} after a time of holding is no error: polled again at once`, async () => {
    const { world, problems } = await start();
    await world.clock.pass(55000);
    await world.last.answer(status);
    assert.equal(world.sent, 2);
    assert.deepEqual(problems, []);
  });

  test(`${status} that comes at once does not make us spin`, async () => {
    const { world, problems } = await start();
    await world.last.answer(status);
    await world.clock.pass(999);
    assert.equal(world.sent, 1);
    await world.clock.pass(1);
    assert.equal(world.sent, 2);
    await world.clock.pass(400);
    await world.last.answer(status);
    await world.clock.pass(599);
    assert.equal(world.sent, 2);
    await world.clock.pass(1);
    assert.equal(world.sent, 3);
    assert.deepEqual(problems, []);
  });
}

test('interval is the pace where the relay never holds', async () => {
  const { world } = await start({ interval: 10000 });
  await world.last.answer(304);
  await world.clock.pass(9999);
  assert.equal(world.sent, 1);
  await world.clock.pass(1);
  assert.equal(world.sent, 2);
});

for (const status of [400, 401, 403, 404, 409, 410, 429, 500, 502, 503, 504, 206]) {
  test(`${status} is reported and backed off from`, async () => {
    const { world, problems } = await start();
    await world.last.answer(status);
    assert.equal(world.sent, 1);
    assert.deepEqual(problems, [
      { name: 'poll', status, message: `HTTP status ${status}`, tries: 1, wait: 500 },
    ]);
    await world.clock.pass(499);
    assert.equal(world.sent, 1);
    await world.clock.pass(1);
    assert.equal(world.sent, 2);
  });
}

test('a network error is reported as status 0 and backed off from', async () => {
  const { world, problems } = await start();
  await world.last.fail(new TypeError('Failed to fetch'));
  assert.deepEqual(problems, [
    { name: 'poll', status: 0, message: 'TypeError: Failed to fetch', tries: 1, wait: 500 },
  ]);
  await world.clock.pass(500);
  assert.equal(world.sent, 2);
});

test('a fetch that throws is a network error', async () => {
  const world = new World();
  const problems = [];
  const updates = create({
    ...world.environment,
    fetch: () => {
      throw new TypeError('no such scheme');
    },
  });
  updates.subscribe({ poll: 'nowhere:' }, { onerror: (_name, problem) => problems.push(problem.message) });
  await settle();
  assert.deepEqual(problems, ['TypeError: no such scheme']);
});

test('without onerror an error is silent: the browser shows it by itself', async () => {
  const { world } = await start({ onerror: undefined });
  await world.last.answer(503);
  assert.deepEqual(world.logged, []);
});

test('the back-off counts failures in a row and starts anew after a success', async () => {
  const asked = [];
  const { world } = await start({
    backoff: (tries) => {
      asked.push(tries);
      return 10;
    },
  });
  await world.last.answer(503);
  await world.clock.pass(10);
  await world.last.fail();
  await world.clock.pass(10);
  await world.last.answer(404);
  await world.clock.pass(10);
  await world.last.message(1, {});
  await world.last.answer(503);
  await world.clock.pass(10);
  await world.clock.pass(55000);
  await world.last.answer(304);
  await world.last.answer(503);
  assert.deepEqual(asked, [1, 2, 3, 1, 1]);
});

test('the default back-off has full jitter: from 0 to 1, 2, 4 … 30 seconds', async () => {
  for (const [random, waits] of [
    [0, [0, 0, 0]],
    [0.5, [500, 1000, 2000, 4000, 8000, 15000, 15000]],
    [0.999, [999, 1998, 3996]],
  ]) {
    const { world, problems } = await start();
    world.random = random;
    for (const wait of waits) {
      await world.last.fail();
      await world.clock.pass(wait);
    }
    assert.deepEqual(problems.map((problem) => Math.round(problem.wait)), waits);
  }
});

test('fullJitter stays finite after thousands of tries', () => {
  const backoff = fullJitter(1000, 30000, () => 0.5);
  assert.equal(backoff(1), 500);
  assert.equal(backoff(100000), 15000);
});

test('fullJitter draws anew each time', () => {
  const backoff = fullJitter(1000, 30000);
  const waits = new Set();
  for (let i = 0; i < 20; i++) {
    const wait = backoff(3);
    assert.ok(wait >= 0 && wait < 4000);
    waits.add(wait);
  }
  assert.ok(waits.size > 1);
});

for (const [what, backoff] of [
  ['throws', () => {
    throw new Error('mine');
  }],
  ['gives NaN', () => NaN],
  ['gives nothing', () => undefined],
  ['gives less than 0', () => -1],
  ['gives Infinity', () => Infinity],
]) {
  test(`a backoff that ${what} neither ends the polling nor makes it spin`, async () => {
    const { world } = await start({ backoff });
    for (let i = 0; i < 40; i++) {
      await world.last.fail();
      await world.clock.pass(30000);
    }
    assert.equal(world.sent, 41);
  });
}

test('an onerror that throws is shown and stops nothing', async () => {
  const { world } = await start({
    onerror: () => {
      throw new Error('mine');
    },
  });
  await world.last.fail();
  await world.clock.pass(500);
  assert.equal(world.sent, 2);
  assert.match(world.logged[0][1], /onerror failed/);
});

test('an onerror that unsubscribes ends the polling', async () => {
  const world = new World();
  const updates = create(world.environment);
  updates.subscribe({ poll: '/updates/poll-1' }, { onerror: (name) => updates.unsubscribe(name) });
  await world.last.answer(403);
  await world.clock.pass(1e6);
  assert.equal(world.sent, 1);
});

test('a request that hangs for the timeout is given up and repeated, without an error', async () => {
  const { world, problems } = await start({ timeout: 90000 });
  await world.last.message(7, {});
  await world.clock.pass(89999);
  assert.equal(world.sent, 2);
  const hanging = world.last;
  await world.clock.pass(1);
  assert.equal(hanging.aborted, true);
  assert.equal(world.sent, 3);
  assert.equal(world.last.headers['If-None-Match'], '"7"');
  assert.deepEqual(problems, []);
});

test('the default timeout is two minutes, and 0 waits for ever', async () => {
  const usual = await start();
  assert.deepEqual(usual.world.clock.pending(), [120000]);
  const forever = await start({ timeout: 0 });
  assert.deepEqual(forever.world.clock.pending(), []);
});

test('an answered request leaves no timer behind', async () => {
  const { world, updates } = await start();
  await world.last.message(1, {});
  assert.deepEqual(world.clock.pending(), [120000]);
  await world.last.answer(503);
  assert.deepEqual(world.clock.pending(), [500]);
  await world.clock.pass(500);
  assert.deepEqual(world.clock.pending(), [120000]);
  updates.close();
  assert.deepEqual(world.clock.pending(), []);
});

test('retry ends a wait and goes on counting the tries', async () => {
  const { world, updates, problems } = await start();
  await world.last.fail();
  updates.retry();
  await settle();
  assert.equal(world.sent, 2);
  await world.last.fail();
  assert.deepEqual(problems.map((problem) => problem.tries), [1, 2]);
  await world.clock.pass(1000);
  assert.equal(world.sent, 3);
});

test('retry leaves a request in flight alone', async () => {
  const { world, updates } = await start();
  updates.retry();
  await settle();
  assert.equal(world.sent, 1);
  assert.equal(world.last.aborted, false);
});

test('suspend aborts, resume goes on from the same position, each as often as one likes', async () => {
  const { world, updates } = await start();
  await world.last.message(7, {});
  updates.suspend();
  updates.suspend();
  assert.equal(world.last.aborted, true);
  updates.retry();
  await world.clock.pass(1e6);
  assert.equal(world.sent, 2);
  updates.resume();
  updates.resume();
  await settle();
  assert.equal(world.sent, 3);
  assert.equal(world.last.headers['If-None-Match'], '"7"');
});

test('suspend during a wait ends it, and resume tries at once', async () => {
  const { world, updates } = await start();
  await world.last.fail();
  updates.suspend();
  updates.retry();
  await world.clock.pass(1e6);
  assert.equal(world.sent, 1);
  updates.resume();
  await settle();
  assert.equal(world.sent, 2);
});

test('what is subscribed while suspended starts with resume', async () => {
  const { world, updates } = await start();
  updates.suspend();
  updates.subscribe({ chat: '/updates/chat' });
  await settle();
  assert.equal(world.sent, 1);
  updates.resume();
  await settle();
  assert.deepEqual(world.requests.map((request) => request.url),
    ['/updates/poll-1', '/updates/poll-1', '/updates/chat']);
});
