/*
 * Makes updates.mjs and updates.d.ts from updates.js: npm run build.
 *
 * updates.mjs is the client between the two lines of dashes of updates.js, with
 * exports instead of globals. It is complete in itself: an `import` of updates.js would
 * break under Django's ManifestStaticFilesStorage, which renames files and does not look
 * into modules. Both files are tracked, so that users need no build; a test
 * (tests/js/build.test.mjs) holds them against what this makes.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const BEGIN = '  // ---- the client; build.mjs takes it from here ----\n';
const END = '  // ---- what only a classic script does; build.mjs stops here ----\n';

/** The text of updates.mjs. */
export function moduleText() {
  const source = readFileSync(join(here, 'updates.js'), 'utf8');
  const begin = source.indexOf(BEGIN);
  const end = source.indexOf(END);
  if (begin < 0 || end < begin) {
    throw new Error('updates.js: the lines of dashes that build.mjs looks for are gone');
  }
  const client = source.slice(begin + BEGIN.length, end).replace(/^ {2}/gm, '').trim();
  const names = /const Updates = \{ (.*) \};/.exec(source.slice(end));
  if (names === null) {
    throw new Error('updates.js: "const Updates = { … };" on one line is gone');
  }
  return [
    '/* Made from updates.js by build.mjs; change that and run: npm run build */',
    '',
    "const root = /** @type {any} */ (typeof self === 'undefined' ? globalThis : self);",
    '',
    client,
    '',
    `export { ${names[1]} };`,
    '',
  ].join('\n');
}

/** The text of updates.d.ts, as tsc derives it from a module text. */
export function typesText(module) {
  const folder = mkdtempSync(join(tmpdir(), 'updates-types-'));
  try {
    writeFileSync(join(folder, 'updates.mjs'), module);
    const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
    execFileSync(process.execPath, [tsc, '--allowJs', '--declaration', '--emitDeclarationOnly',
      '--target', 'es2018', '--lib', 'es2018,dom', 'updates.mjs'],
    { cwd: folder, stdio: ['ignore', 'inherit', 'inherit'] });
    return [
      '/* Made from updates.js by build.mjs; change that and run: npm run build */',
      '',
      readFileSync(join(folder, 'updates.d.mts'), 'utf8').trim(),
      '',
      '/* The global of the classic script, and what it puts beside it. */',
      'export as namespace Updates;',
      'declare global {',
      '    interface JQueryStatic {',
      "        updates: typeof import('./updates');",
      '    }',
      '}',
      '',
    ].join('\n');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const module = moduleText();
  writeFileSync(join(here, 'updates.mjs'), module);
  writeFileSync(join(here, 'updates.d.ts'), typesText(module));
}
