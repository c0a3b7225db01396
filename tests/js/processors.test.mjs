/* subscribe, unsubscribe, registerProcessor: who gets what. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { World, loadScript, settle } from './fakes.mjs';

const { create } = loadScript();

function start() {
  const world = new World();
  return { world, updates: create(world.environment) };
}

test('an update reaches the processor of its name and type, whole', async () => {
  const { world, updates } = start();
  const seen = [];
  updates.registerProcessor('poll', 'answer', (data) => seen.push(data));
  updates.registerProcessor('poll', 'question', () => seen.push('another type'));
  updates.registerProcessor('chat', 'answer', () => seen.push('another name'));
  updates.subscribe({ poll: '/updates/poll-1' });
  await world.last.message(1, { type: 'answer', value: 42 });
  assert.deepEqual(seen, [{ type: 'answer', value: 42 }]);
});

test('a processor registered after subscribing gets updates', async () => {
  const { world, updates } = start();
  const seen = [];
  updates.subscribe({ poll: '/updates/poll-1' });
  updates.registerProcessor('poll', 'answer', (data) => seen.push(data.value));
  await world.last.message(1, { type: 'answer', value: 1 });
  assert.deepEqual(seen, [1]);
});

test('several processors of one type run in the order of registration', async () => {
  const { world, updates } = start();
  const seen = [];
  updates.registerProcessor('poll', 'answer', () => seen.push('first'));
  updates.registerProcessor('poll', 'answer', () => seen.push('second'));
  updates.subscribe({ poll: '/updates/poll-1' });
  await world.last.message(1, { type: 'answer' });
  assert.deepEqual(seen, ['first', 'second']);
});

test('types compare as strings', async () => {
  const { world, updates } = start();
  const seen = [];
  updates.registerProcessor('poll', '7', () => seen.push('its string registered'));
  updates.registerProcessor('poll', 7, () => seen.push('number registered'));
  updates.registerProcessor('poll', '8', () => seen.push('string registered'));
  updates.registerProcessor('poll', 'constructor', () => seen.push('constructor'));
  updates.registerProcessor('poll', true, () => seen.push('boolean'));
  updates.subscribe({ poll: '/updates/poll-1' });
  await world.last.message(1, { type: '7' });
  await world.last.message(2, { type: 8 });
  await world.last.message(3, { type: 'constructor' });
  await world.last.message(4, { type: 'true' });
  assert.deepEqual(seen, ['its string registered', 'number registered', 'string registered',
    'constructor', 'boolean']);
});

test('names and types of Object.prototype are names and types like others', async () => {
  const { world, updates } = start();
  const seen = [];
  updates.registerProcessor('toString', '__proto__', () => seen.push('called'));
  updates.subscribe({ toString: '/updates/a' });
  await world.last.message(1, { type: 'hasOwnProperty' });
  await world.last.message(2, '{"type": "__proto__"}');
  assert.deepEqual(seen, ['called']);
  assert.deepEqual(world.logged, []);
});

test('an update without a type, or with an object for a type, calls nobody and polling goes on', async () => {
  const { world, updates } = start();
  const seen = [];
  updates.registerProcessor('poll', 'undefined', () => seen.push('undefined'));
  updates.registerProcessor('poll', 'null', () => seen.push('null'));
  updates.registerProcessor('poll', '[object Object]', () => seen.push('an object'));
  updates.subscribe({ poll: '/updates/poll-1' });
  await world.last.message(1, { value: 1 });
  await world.last.message(2, { type: { toString: 1 } });
  await world.last.message(3, { type: null });
  assert.deepEqual(seen, []);
  assert.equal(world.last.headers['If-None-Match'], '"3"');
});

test('a processor that throws stops neither the others nor the polling', async () => {
  const { world, updates } = start();
  const seen = [];
  const error = new Error('mine');
  updates.registerProcessor('poll', 'answer', () => {
    throw error;
  });
  updates.registerProcessor('poll', 'answer', (data) => seen.push(data.value));
  updates.subscribe({ poll: '/updates/poll-1' });
  await world.last.message(1, { type: 'answer', value: 1 });
  await world.last.message(2, { type: 'answer', value: 2 });
  assert.deepEqual(seen, [1, 2]);
  assert.equal(world.last.headers['If-None-Match'], '"2"');
  assert.equal(world.logged.length, 2);
  assert.equal(world.logged[0][0], 'error');
  assert.match(world.logged[0][1], /poll, answer/);
  assert.equal(world.logged[0][2], error);
});

test('a processor registered by a processor begins with the next update', async () => {
  const { world, updates } = start();
  const seen = [];
  let once = false;
  updates.registerProcessor('poll', 'answer', () => {
    if (!once) {
      once = true;
      updates.registerProcessor('poll', 'answer', (data) => seen.push(data.value));
    }
  });
  updates.subscribe({ poll: '/updates/poll-1' });
  await world.last.message(1, { type: 'answer', value: 1 });
  assert.deepEqual(seen, []);
  await world.last.message(2, { type: 'answer', value: 2 });
  assert.deepEqual(seen, [2]);
});

test('what is registered as a processor must be a function', () => {
  const { updates } = start();
  assert.throws(() => updates.registerProcessor('poll', 'answer', 'alert'), /poll, answer is no function/);
});

test('the body is read as JSON whatever its Content-Type', async () => {
  const { world, updates } = start();
  const seen = [];
  updates.registerProcessor('poll', 'answer', (data) => seen.push(data.value));
  updates.subscribe({ poll: '/updates/poll-1' });
  await world.last.message(1, { type: 'answer', value: 'ž' },
    { 'Content-Type': 'application/x-www-form-urlencoded' });
  await world.last.message(2, { type: 'answer', value: 2 }, { 'Content-Type': 'text/html' });
  assert.deepEqual(seen, ['ž', 2]);
});

for (const body of ['', 'hello', '{"type": "answer"', '"answer"', '42', 'null', '["answer"]']) {
  test(`the body ${body || '(empty)'} is passed over with a warning and the position moves on`, async () => {
    const { world, updates } = start();
    const seen = [];
    updates.registerProcessor('poll', 'answer', (data) => seen.push(data.value));
    updates.subscribe({ poll: '/updates/poll-1' });
    await world.last.message(1, body);
    assert.equal(world.logged.length, 1);
    assert.equal(world.logged[0][0], 'warn');
    assert.match(world.logged[0][1], /poll.*passed over/);
    assert.equal(world.last.headers['If-None-Match'], '"1"');
    await world.last.message(2, { type: 'answer', value: 2 });
    assert.deepEqual(seen, [2]);
  });
}

test('subscribing is idempotent per name', async () => {
  const { world, updates } = start();
  updates.subscribe({ poll: '/updates/poll-1' });
  updates.subscribe({ poll: '/updates/poll-1', chat: '/updates/chat' });
  await settle();
  assert.deepEqual(world.requests.map((request) => request.url), ['/updates/poll-1', '/updates/chat']);
  assert.deepEqual(world.logged, []);
});

test('another URL for a subscribed name changes nothing and is said', async () => {
  const { world, updates } = start();
  updates.subscribe({ poll: '/updates/poll-1' });
  updates.subscribe({ poll: '/updates/poll-2' });
  await settle();
  assert.equal(world.sent, 1);
  assert.match(world.logged[0][1], /poll stays subscribed to \/updates\/poll-1/);
});

test('an empty URL is skipped and its name stays free', async () => {
  const { world, updates } = start();
  updates.subscribe({ poll: '', chat: null, news: undefined });
  await settle();
  assert.equal(world.sent, 0);
  updates.subscribe({ poll: '/updates/poll-1' });
  await settle();
  assert.equal(world.sent, 1);
});

test('each name has its own position and its own errors', async () => {
  const { world, updates } = start();
  updates.subscribe({ a: '/updates/a', b: '/updates/b' });
  const [a, b] = world.requests;
  await b.fail();
  await a.message(5, {});
  assert.equal(world.sent, 3);
  assert.equal(world.last.url, '/updates/a');
  await world.clock.pass(500);
  assert.equal(world.last.url, '/updates/b');
  assert.deepEqual(world.last.headers, {});
});

for (const [what, late] of [
  ['message', new Response('{"type": "answer"}', { headers: { 'Last-Modified': 'x', Etag: '1' } })],
  ['time-out', new Response(null, { status: 304 })],
  ['error', new Response('', { status: 503 })],
]) {
  test(`a ${what} that comes after unsubscribing is ignored`, async () => {
    const world = new World();
    const seen = [];
    const answers = [];
    // A fetch that takes no notice of its signal: the answer comes all the same.
    const updates = create({
      ...world.environment,
      fetch: () => new Promise((resolve) => {
        answers.push(resolve);
      }),
    });
    updates.registerProcessor('poll', 'answer', () => seen.push('an update'));
    updates.subscribe({ poll: '/updates/poll-1' }, { onerror: () => seen.push('an error') });
    await settle();
    updates.unsubscribe('poll');
    answers[0](late);
    await world.clock.pass(1e6);
    assert.deepEqual(seen, []);
    assert.equal(answers.length, 1);
  });
}

test('unsubscribing aborts what is in flight', async () => {
  const { world, updates } = start();
  updates.subscribe({ poll: '/updates/poll-1' });
  await settle();
  updates.unsubscribe('poll');
  assert.equal(world.last.aborted, true);
  await world.clock.pass(1e6);
  assert.equal(world.sent, 1);
  assert.deepEqual(world.logged, []);
});

test('unsubscribing during a wait ends it', async () => {
  const { world, updates } = start();
  updates.subscribe({ poll: '/updates/poll-1' });
  await world.last.fail();
  updates.unsubscribe('poll');
  assert.deepEqual(world.clock.pending(), []);
  await world.clock.pass(1e6);
  assert.equal(world.sent, 1);
});

test('a name can be subscribed anew, from the oldest message, and keeps its processors', async () => {
  const { world, updates } = start();
  const seen = [];
  updates.registerProcessor('poll', 'answer', (data) => seen.push(data.value));
  updates.subscribe({ poll: '/updates/poll-1' });
  await world.last.message(1, { type: 'answer', value: 1 });
  updates.unsubscribe('poll');
  updates.subscribe({ poll: '/updates/poll-2' });
  await settle();
  assert.equal(world.last.url, '/updates/poll-2');
  assert.deepEqual(world.last.headers, {});
  await world.last.message(2, { type: 'answer', value: 2 });
  assert.deepEqual(seen, [1, 2]);
});

test('a processor may unsubscribe its own name: the update is finished, polling ends', async () => {
  const { world, updates } = start();
  const seen = [];
  updates.registerProcessor('poll', 'answer', () => updates.unsubscribe('poll'));
  updates.registerProcessor('poll', 'answer', (data) => seen.push(data.value));
  updates.subscribe({ poll: '/updates/poll-1' });
  await world.last.message(1, { type: 'answer', value: 1 });
  await world.clock.pass(1e6);
  assert.deepEqual(seen, [1]);
  assert.equal(world.sent, 1);
});

test('a processor may subscribe its own name anew: one poll follows, not two', async () => {
  const { world, updates } = start();
  let done = false;
  updates.registerProcessor('poll', 'answer', () => {
    if (!done) {
      done = true;
      updates.unsubscribe('poll');
      updates.subscribe({ poll: '/updates/poll-1' });
    }
  });
  updates.subscribe({ poll: '/updates/poll-1' });
  await world.last.message(1, { type: 'answer' });
  assert.equal(world.sent, 2);
  assert.deepEqual(world.last.headers, {});
});

test('close ends all subscriptions', async () => {
  const { world, updates } = start();
  updates.subscribe({ a: '/updates/a', b: '/updates/b' });
  await settle();
  updates.close();
  assert.deepEqual(world.requests.map((request) => request.aborted), [true, true]);
  await world.clock.pass(1e6);
  assert.equal(world.sent, 2);
});

test('a misspelt option is an error, for a misspelt credentials would send cookies', () => {
  const { world, updates } = start();
  assert.throws(() => updates.subscribe({ poll: '/u' }, { credential: false }),
    /no option is called credential; there are: credentials/);
  assert.equal(world.sent, 0);
});
