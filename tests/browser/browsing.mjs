/*
 * What the browser tests share: the example as `make demo` runs it, but on free ports and
 * with a database of its own, and Debian's Chromium.
 *
 * Environment: PUSHSERVER_BINARY (build/pushserver), PYTHON (.venv/bin/python), CHROMIUM
 * (/usr/bin/chromium).
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttpServer, request as httpRequest } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const BINARY = path.resolve(ROOT, process.env.PUSHSERVER_BINARY || 'build/pushserver');
const PYTHON = path.resolve(ROOT, process.env.PYTHON || '.venv/bin/python');
const CHROMIUM = process.env.CHROMIUM || '/usr/bin/chromium';

/** Milliseconds; only what hangs takes as long. */
export const DEADLINE = 30000;

/** Wait until condition(), which may be async, gives something true; return that. */
export async function until(condition, what) {
  const end = Date.now() + DEADLINE;
  for (;;) {
    const value = await condition();
    if (value) {
      return value;
    }
    assert.ok(Date.now() < end, `waited ${DEADLINE / 1000} s in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** Ports of loopback that nobody listens on. */
export async function freePorts(count) {
  const probes = [];
  for (let i = 0; i < count; i++) {
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    probes.push(probe);
  }
  const ports = probes.map((probe) => probe.address().port);
  await Promise.all(probes.map((probe) => new Promise((done) => probe.close(done))));
  return ports;
}

const endings = new WeakMap();

/**
 * Have something ended after the test: last come, first ended, and each of them though
 * another one fails. (Node's own hooks stop at the first that does, and what is left running
 * would keep the test's process from ending.)
 */
export function atEnd(t, end) {
  if (!endings.has(t)) {
    const all = [];
    endings.set(t, all);
    t.after(async () => {
      const errors = [];
      while (all.length > 0) {
        await Promise.resolve().then(all.pop()).catch((error) => errors.push(error));
      }
      if (errors.length > 0) {
        throw errors[0];
      }
    });
  }
  endings.get(t).push(end);
}

/** A folder that is gone after the test. */
export function folder(t) {
  const name = mkdtempSync(path.join(tmpdir(), 'pushserver-browser-'));
  atEnd(t, () => rmSync(name, { recursive: true, force: true }));
  return name;
}

/** A program with its output; ended after the test, with status 0 and without a complaint. */
export class Program {
  output = '';

  constructor(t, command, { input = '', env = {} } = {}) {
    this.process = spawn(command[0], command.slice(1), { env: { ...process.env, ...env } });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        this.output += text;
      });
    }
    this.ended = once(this.process, 'close').then(([status]) => status);
    this.process.stdin.end(input);
    atEnd(t, async () => {
      this.process.kill('SIGTERM');
      assert.equal(await this.ended, 0, this.output);
      assert.doesNotMatch(this.output, /warning|error|Traceback/i);
    });
  }

  async says(text) {
    await until(() => {
      assert.equal(this.process.exitCode, null, this.output);
      return this.output.includes(text);
    }, `${text} in:\n${this.output}`);
  }
}

/** The example, running. */
export class Demo {
  static async start(t) {
    const demo = new Demo();
    [demo.port, demo.relayPort] = await freePorts(2);
    demo.folder = folder(t);
    demo.url = `http://127.0.0.1:${demo.port}/`;
    demo.program = new Program(t, [PYTHON, `${ROOT}examples/django/demo.py`,
      '--port', demo.port, '--relay-port', demo.relayPort,
      '--folder', demo.folder, '--relay', BINARY].map(String));
    await demo.program.says('Ctrl-C');
    return demo;
  }

  /** Publish as `curl -d` does, which calls everything a form. */
  async post(data) {
    const response = await fetch(`http://127.0.0.1:${this.relayPort}/send-update/board`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      body: JSON.stringify(data),
    });
    assert.ok(response.ok, `status ${response.status}`);
  }

  /** Run lines in Django's shell. */
  async shell(t, code) {
    const env = {
      DEMO_PORT: String(this.port),
      DEMO_RELAY_PORT: String(this.relayPort),
      DEMO_FOLDER: this.folder,
    };
    const command = [PYTHON, `${ROOT}examples/django/manage.py`, 'shell'];
    const shell = new Program(t, command, { env, input: code });
    assert.equal(await shell.ended, 0, shell.output);
  }
}

/** Pass requests on to a port of loopback, showing each to `look`; return the port to use. */
export async function countingProxy(t, port, look) {
  const proxy = createHttpServer((request, response) => {
    look(request);
    const { method, headers } = request;
    const to = { host: '127.0.0.1', port, method, path: request.url, headers };
    const onward = httpRequest(to, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  atEnd(t, () => {
    proxy.closeAllConnections();
    proxy.close();
  });
  return proxy.address().port;
}

/** A Chromium with a profile of its own. */
export async function openChromium(t, options = {}, moreArguments = []) {
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync',
      ...moreArguments],
    ...options,
  });
  atEnd(t, () => browser.close());
  return browser;
}

/** A user's own cookies, with the page open in one tab. */
export async function logIn(browser, url, name) {
  const context = await browser.newContext();
  context.setDefaultTimeout(DEADLINE);
  const page = await context.newPage();
  await page.goto(url);
  await page.getByRole('button', { name, exact: true }).click();
  await page.waitForURL(url);
  return page;
}

/** The list of who is online, as the page shows it. */
export function online(page) {
  return page.locator('#online li').allTextContents();
}

/** The messages, newest first, as the page shows them. */
export function messages(page) {
  return page.locator('#messages li').allTextContents();
}

/** Wait until the page shows just these. */
export async function shows(page, what, expected) {
  let seen;
  await until(async () => {
    seen = await what(page);
    return JSON.stringify(seen) === JSON.stringify(expected);
  }, `${what.name} ${JSON.stringify(expected)}`).catch((error) => {
    error.message += `; the page has ${JSON.stringify(seen)}`;
    throw error;
  });
}
