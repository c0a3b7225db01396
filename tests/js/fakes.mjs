/*
 * What the tests of the browser client share: the classic script, loaded as a page loads
 * it, and a world of their own for it: a relay that answers when told, and a clock that
 * moves when told.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import vm from 'node:vm';

const SCRIPT = new URL('../../js/updates.js', import.meta.url);

/** When the messages of these tests were published, as a relay writes it and in seconds. */
export const DATE = 'Sun, 06 Nov 1994 08:49:37 GMT';
export const SECOND = 784111777;

/** The text of the classic script. */
export function scriptText() {
  return readFileSync(SCRIPT, 'utf8');
}

/** Run the classic script in this very realm, so that deepEqual sees no foreign prototypes. */
export function loadScript() {
  vm.runInThisContext(scriptText(), { filename: 'updates.js' });
  const { Updates } = globalThis;
  delete globalThis.Updates;
  return Updates;
}

/** Run a classic script as a page of the given window does. */
export function runInPage(window, text, filename) {
  vm.runInContext(text, vm.isContext(window) ? window : vm.createContext(window), { filename });
}

/** Let everything happen that needs no clock. */
export async function settle() {
  for (let turn = 0; turn < 10; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Wait in real time until condition() holds; for the tests with real sockets. */
export async function until(condition, what) {
  const deadline = Date.now() + 20000;
  while (!condition()) {
    assert.ok(Date.now() < deadline, `waited 20 s in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Timers that run when the test says so. */
export class Clock {
  ms = 0;
  timers = new Map();
  made = 0;

  setTimeout = (run, ms) => {
    assert.ok(Number.isFinite(ms), `a timer of ${ms} ms`);
    this.made += 1;
    this.timers.set(this.made, { run, at: this.ms + ms });
    return this.made;
  };

  clearTimeout = (timer) => {
    this.timers.delete(timer);
  };

  /** Milliseconds until each timer, the earliest first. */
  pending() {
    return [...this.timers.values()].map((timer) => timer.at - this.ms).sort((a, b) => a - b);
  }

  /** Let ms pass, running what falls due, each with all that follows from it. */
  async pass(ms) {
    const end = this.ms + ms;
    for (;;) {
      const due = [...this.timers].filter(([, timer]) => timer.at <= end);
      if (due.length === 0) {
        break;
      }
      const [key, timer] = due.reduce((a, b) => (b[1].at < a[1].at ? b : a));
      this.timers.delete(key);
      this.ms = Math.max(this.ms, timer.at);
      timer.run();
      await settle();
    }
    this.ms = end;
    await settle();
  }
}

/** A request that the client has sent and that the test answers. */
class Request {
  constructor(url, init) {
    this.url = url;
    this.init = init;
    this.headers = { ...init.headers };
    this.aborted = false;
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    init.signal.addEventListener('abort', () => {
      this.aborted = true;
      this.reject(new DOMException('aborted', 'AbortError'));
    });
  }

  async answer(status, headers = {}, body = '') {
    const bodiless = status === 204 || status === 304;
    this.resolve(new Response(bodiless ? null : body, { status, headers }));
    await settle();
  }

  /** A message as the relay sends it. */
  async message(tag, data, headers = {}) {
    const body = typeof data === 'string' ? data : JSON.stringify(data);
    await this.answer(200, { 'Last-Modified': DATE, Etag: `"${tag}"`, ...headers }, body);
  }

  async fail(error = new TypeError('Failed to fetch')) {
    this.reject(error);
    await settle();
  }
}

/**
 * A world for create(): fetch into `requests`, the clock, a console that is kept.
 * random() is 0.5 unless set, so the default back-off waits 500, 1000, 2000 … ms.
 */
export class World {
  clock = new Clock();
  requests = [];
  logged = [];
  random = 0.5;
  foreign = false;

  environment = {
    fetch: (url, init) => {
      const request = new Request(url, init);
      this.requests.push(request);
      return request.promise;
    },
    setTimeout: this.clock.setTimeout,
    clearTimeout: this.clock.clearTimeout,
    now: () => this.clock.ms,
    random: () => this.random,
    isForeign: () => this.foreign,
    console: {
      warn: (...words) => this.logged.push(['warn', ...words]),
      error: (...words) => this.logged.push(['error', ...words]),
    },
  };

  /** The request sent last. */
  get last() {
    return this.requests[this.requests.length - 1];
  }

  /** How many requests were sent so far. */
  get sent() {
    return this.requests.length;
  }
}
