/* What is tracked beside updates.js is what build.mjs makes of it, and it works. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as acorn from 'acorn';
import { moduleText, typesText } from '../../js/build.mjs';
import { World, loadScript, scriptText } from './fakes.mjs';

function tracked(path) {
  return readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
}

test('updates.mjs is up to date (else: npm run build)', () => {
  assert.equal(tracked('js/updates.mjs'), moduleText());
});

test('updates.d.ts is up to date (else: npm run build)', () => {
  assert.equal(tracked('js/updates.d.ts'), typesText(moduleText()));
});

test('updates.js is a classic script in ES2018', () => {
  acorn.parse(scriptText(), { ecmaVersion: 2018, sourceType: 'script' });
});

test('updates.mjs imports nothing: it is complete in itself', () => {
  const { body } = acorn.parse(tracked('js/updates.mjs'), { ecmaVersion: 2018, sourceType: 'module' });
  assert.deepEqual(body.filter((node) => node.type === 'ImportDeclaration' || node.source), []);
});

test('updates.mjs exports what Updates has, and leaves no global', async () => {
  const module = await import('../../js/updates.mjs');
  assert.deepEqual(Object.keys(module).sort(), Object.keys(loadScript()).sort());
  assert.equal(globalThis.Updates, undefined);
});

test('updates.mjs delivers updates', async () => {
  const { create } = await import('../../js/updates.mjs');
  const world = new World();
  const updates = create(world.environment);
  const seen = [];
  updates.registerProcessor('poll', 'answer', (data) => seen.push(data));
  updates.subscribe({ poll: '/updates/poll-1' });
  await world.last.message(1, { type: 'answer', value: 42 });
  assert.deepEqual(seen, [{ type: 'answer', value: 42 }]);
  assert.equal(world.last.headers['If-None-Match'], '"1"');
});

test('neither file names another that a static files storage would have to rename', () => {
  for (const path of ['js/updates.js', 'js/updates.mjs']) {
    assert.doesNotMatch(tracked(path), /sourceMappingURL|^\s*import\b|\bfrom\s+['"]|import\(/m);
  }
});

test('the lock file names no registry', () => {
  assert.doesNotMatch(tracked('package-lock.json'), /"resolved"|https?:\/\//);
});
