/* Made from updates.js by build.mjs; change that and run: npm run build */

const root = /** @type {any} */ (typeof self === 'undefined' ? globalThis : self);

/**
 * Where a channel stands; goes out with the next request.
 * @typedef {Object} Position
 * @property {string} lastModified - HTTP date as the relay sent it
 * @property {string} etag - decides between messages of one second; '' if none could be read
 */

/** @typedef {(tries: number) => number} Backoff - milliseconds before try `tries`, from 1 */

/**
 * How a transport ended.
 * @typedef {Object} End
 * @property {boolean} failed - false: go on at once (an update, a time-out); true: back off
 * @property {number} status - HTTP status, 0 when there was none
 * @property {string} message - for people
 */

/**
 * What `onerror` is told.
 * @typedef {Object} Problem
 * @property {number} status - HTTP status, 0 when there was none (network, CORS)
 * @property {string} message - for people
 * @property {number} tries - failures in a row, from 1
 * @property {number} wait - milliseconds until the next try
 */

/**
 * What can be set per subscription.
 * @typedef {Object} Settings
 * @property {boolean} credentials - send cookies, also to another origin; default true
 * @property {'auto'|'headers'|'query'} resumeBy - how the position is sent: as
 *   If-Modified-Since and If-None-Match, or as ?last_event_id= (no CORS preflight);
 *   default 'auto': by query to a relay on another origin that is known to take it
 * @property {number} interval - least milliseconds from one request to the next where there
 *   was no update, so that a relay that never holds cannot make us spin; default 1000
 * @property {number} timeout - milliseconds after which a request is given up and repeated,
 *   for connections that died without a word; 0 waits for ever; default 120000
 * @property {Backoff} backoff - default fullJitter(1000, 30000)
 * @property {(name: string) => void} ongap - updates were lost before the one that follows;
 *   default: nothing
 * @property {(name: string, problem: Problem) => void} onerror - default: nothing
 */

/** @typedef {Partial<Settings>} Options */

/** @typedef {(data: any) => void} Processor - gets the whole update, an object */

/**
 * What the client needs of the world around it; tests bring their own.
 * @typedef {Object} Environment
 * @property {(url: string, init: RequestInit) => Promise<Response>} fetch
 * @property {(run: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} now - milliseconds from any start, never backwards
 * @property {() => number} random - from 0 to below 1
 * @property {(url: string) => boolean} isForeign - whether CORS rules apply to it
 * @property {Pick<Console, 'warn'|'error'>} console
 */

/**
 * One way of getting messages. After close() it calls nothing until opened again.
 * @typedef {Object} Transport
 * @property {(position: Position|null) => void} open - begin behind a position, null: oldest
 * @property {() => void} close - abort what is in flight; its late answer is ignored
 * @property {(text: string, position: Position) => void} onmessage
 * @property {() => void} ongap - messages were lost before the next one
 * @property {(end: End) => void} onend - it is closed now
 */

/**
 * A set of channels with their processors.
 * @typedef {Object} UpdatesSet
 * @property {(urls: {[name: string]: string|null|undefined}, options?: Options) => void} subscribe -
 *   follow each URL under its name; a name that is subscribed already and an empty URL are skipped
 * @property {(name: string) => void} unsubscribe - abort and forget; processors stay registered
 * @property {(name: string, type: any, processor: Processor) => void} registerProcessor -
 *   call processor for each update of that name whose type is, as a string, `type`
 * @property {() => void} close - unsubscribe all
 * @property {() => void} suspend - abort all requests, keep the positions
 * @property {() => void} resume - go on after suspend()
 * @property {() => void} retry - whoever waits for a next try, try now
 */

/** @type {Settings} */
const DEFAULTS = {
  credentials: true,
  resumeBy: 'auto',
  interval: 1000,
  timeout: 120000,
  backoff: fullJitter(1000, 30000),
  ongap: () => {},
  onerror: () => {},
};

/**
 * Put a user's options over the defaults; undefined is absent.
 * @param {Settings} settings - changed and returned
 * @param {Options} options
 */
function settle(settings, options) {
  Object.keys(options).forEach((key) => {
    // A misspelt "credentials: false" would send the cookies after all.
    if (!(key in DEFAULTS)) {
      throw new TypeError('updates: no option is called ' + key + '; there are: ' +
        Object.keys(DEFAULTS).join(', '));
    }
    const name = /** @type {keyof Settings} */ (key);
    if (options[name] !== undefined) {
      Object.assign(settings, { [name]: options[name] });
    }
  });
  return settings;
}

/**
 * Read the position of an answer. Null: it has none.
 *
 * Last-Modified and Cache-Control can always be read, Etag only if the server names
 * it in Access-Control-Expose-Headers; this is why relays repeat the tag as a token
 * of Cache-Control.
 *
 * @param {Headers} headers
 * @returns {Position|null}
 */
function positionOf(headers) {
  const lastModified = headers.get('Last-Modified');
  if (!lastModified) {
    return null;
  }
  const token = /(?:^|[\s,])etag=("[^"]*"|[^\s,]+)/i.exec(headers.get('Cache-Control') || '');
  return { lastModified, etag: headers.get('Etag') || (token ? token[1] : '') };
}

/**
 * The tag without what servers and proxies put around it: "7", W/"7", "7-gzip".
 * @param {string} etag
 */
function bareTag(etag) {
  return etag.replace(/^W\//, '').replace(/^"|"$/g, '').replace(/-gzip$/, '');
}

/**
 * @param {Position|null} a
 * @param {Position|null} b
 */
function samePosition(a, b) {
  if (a === null || b === null) {
    return a === b;
  }
  return a.lastModified === b.lastModified && bareTag(a.etag) === bareTag(b.etag);
}

/**
 * Exponential back-off with full jitter: anything from 0 to a limit that doubles with
 * each try. A fixed wait, or a jitter of a few per cent, would bring all the clients of
 * a relay that restarts back in the same second.
 *
 * @param {number} base - milliseconds, the limit of the first try
 * @param {number} cap - milliseconds, the highest limit
 * @param {() => number} [random] - from 0 to below 1
 * @returns {Backoff}
 */
function fullJitter(base, cap, random = Math.random) {
  return (tries) => random() * Math.min(cap, base * 2 ** (tries - 1));
}

/**
 * Long polling: one request for each open(), with at most one message.
 * @implements {Transport}
 */
class LongPoll {
  /**
   * @param {string} url
   * @param {Settings} settings
   * @param {Environment} env
   */
  constructor(url, settings, env) {
    this.url = url;
    this.settings = settings;
    this.env = env;
    /** @type {AbortController|null} - of the request in flight */
    this.request = null;
    /** @type {any} - runs while the request does, if settings.timeout */
    this.alarm = null;
    /** Whether the last message came from a relay that takes ?last_event_id=. */
    this.takesQuery = false;
    /** @type {Transport['onmessage']} */
    this.onmessage = () => {};
    this.ongap = () => {};
    /** @type {Transport['onend']} */
    this.onend = () => {};
  }

  /** @param {Position|null} position */
  open(position) {
    this.close();
    const request = new AbortController();
    let gaveUp = false;
    this.request = request;
    if (this.settings.timeout > 0) {
      this.alarm = this.env.setTimeout(() => {
        gaveUp = true;
        request.abort();
      }, this.settings.timeout);
    }
    // Each continuation asks first whether the request is still ours: a closed or
    // reopened transport ignores what comes late.
    this.ask(position, request.signal).then(
      (answer) => {
        if (this.request === request) {
          this.take(answer, position, request);
        }
      },
      (error) => {
        if (this.request === request) {
          // What we gave up ourselves is no failure: the relay may just hold for long.
          this.end(!gaveUp, 0, String(error));
        }
      });
  }

  close() {
    const request = this.request;
    this.env.clearTimeout(this.alarm);
    this.alarm = null;
    this.request = null;
    if (request !== null) {
      request.abort();
    }
  }

  /**
   * @param {boolean} failed
   * @param {number} status
   * @param {string} message
   */
  end(failed, status, message) {
    this.env.clearTimeout(this.alarm);
    this.alarm = null;
    this.request = null;
    this.onend({ failed, status, message });
  }

  /**
   * Send the request and read the whole answer. Rejects on network and CORS errors,
   * also in the middle of the body: the position then stays and nothing is lost.
   *
   * @param {Position|null} position
   * @param {AbortSignal} signal
   */
  async ask(position, signal) {
    let url = this.url;
    /** @type {{[name: string]: string}} */
    const headers = {};
    // Without a position no header at all: this asks for the oldest message, needs no
    // preflight, and Nchan cannot take offence (it refuses If-Modified-Since alone).
    if (position !== null) {
      if (this.sendsQuery(position)) {
        const seconds = Date.parse(position.lastModified) / 1000;
        url = url.replace(/#.*$/, '');
        url += (url.indexOf('?') < 0 ? '?' : '&') + 'last_event_id=' + seconds + ':' +
          encodeURIComponent(bareTag(position.etag));
      } else {
        headers['If-Modified-Since'] = position.lastModified;
        if (position.etag !== '') {
          headers['If-None-Match'] = position.etag;
        }
      }
    }
    const response = await this.env.fetch(url, {
      headers,
      credentials: this.settings.credentials ? 'include' : 'omit',
      // The browser's cache must neither answer (the relay's answers may be stored, if
      // only to be revalidated) nor add conditions of its own.
      cache: 'no-store',
      signal,
    });
    // Error bodies are read too: an unread one keeps its connection from being used again.
    const body = await response.text();
    return { status: response.status, headers: response.headers, body };
  }

  /**
   * Whether to resume by query. Chromium sends the preflight before each request with
   * If-Modified-Since, whatever Access-Control-Max-Age says, because such a request goes
   * past its cache, and past that of preflights with it. A position in the query needs
   * no preflight at all.
   *
   * @param {Position} position
   */
  sendsQuery(position) {
    if (position.etag === '' || Number.isNaN(Date.parse(position.lastModified))) {
      return false;
    }
    if (this.settings.resumeBy === 'auto') {
      return this.takesQuery && this.env.isForeign(this.url);
    }
    return this.settings.resumeBy === 'query';
  }

  /**
   * @param {{status: number, headers: Headers, body: string}} answer
   * @param {Position|null} asked - the position of the request
   * @param {AbortController} request
   */
  take(answer, asked, request) {
    const { status, headers } = answer;
    // 304 is our relay's time-out, and Nchan's where so configured; 408 is Nchan's;
    // 204 is what a location's timeout_status may choose. None says anything new.
    if (status === 304 || status === 204 || status === 408) {
      return this.end(false, status, 'nothing new');
    }
    if (status !== 200) {
      return this.end(true, status, 'HTTP status ' + status);
    }
    const position = positionOf(headers);
    if (position === null) {
      return this.end(true, status, 'no Last-Modified: not a message of a push relay');
    }
    // A service worker or a proxy answered from its store. Delivering it would repeat
    // an update, and asking again at once would spin.
    if (samePosition(position, asked)) {
      return this.end(true, status, 'the very position asked from: a cached answer');
    }
    // The token is quoted by relays that take ?last_event_id= and by no older one.
    this.takesQuery = /(?:^|[\s,])etag="/i.test(headers.get('Cache-Control') || '');
    if (headers.get('X-Push-Gap') === '1') {
      this.ongap();
    }
    // Callbacks may close us.
    if (this.request === request) {
      this.onmessage(answer.body, position);
    }
    if (this.request === request) {
      this.end(false, status, 'a message');
    }
  }
}

/**
 * One subscription: opens its transport again and again, at once after a proper end
 * and after a wait when it failed, from the position of the last message.
 *
 * At any moment exactly one of: its transport is open, `timer` runs, or it is stopped
 * (suspended or closed).
 */
class Channel {
  /**
   * @param {string} name
   * @param {string} url
   * @param {Settings} settings
   * @param {Environment} env
   * @param {(text: string) => void} deliver - must not throw
   */
  constructor(name, url, settings, env, deliver) {
    this.name = name;
    this.url = url;
    this.settings = settings;
    this.env = env;
    this.deliver = deliver;
    /** @type {Position|null} */
    this.position = null;
    /** Failures in a row. */
    this.tries = 0;
    this.stopped = true;
    /** @type {any} - of the next open() */
    this.timer = null;
    this.openedAt = 0;
    /** Whether a message came since openedAt. */
    this.heard = false;
    /** @type {Transport} */
    this.transport = new LongPoll(url, settings, env);
    this.transport.onmessage = (text, position) => this.onmessage(text, position);
    this.transport.ongap = () => attempt(env, 'ongap', () => settings.ongap(name));
    this.transport.onend = (end) => this.onend(end);
  }

  start() {
    if (this.stopped) {
      this.stopped = false;
      this.open();
    }
  }

  stop() {
    this.stopped = true;
    this.env.clearTimeout(this.timer);
    this.timer = null;
    this.transport.close();
  }

  /** End the wait, if there is one. The tries go on being counted. */
  retry() {
    if (this.timer !== null) {
      this.env.clearTimeout(this.timer);
      this.open();
    }
  }

  open() {
    this.timer = null;
    this.openedAt = this.env.now();
    this.heard = false;
    this.transport.open(this.position);
  }

  /**
   * @param {string} text
   * @param {Position} position
   */
  onmessage(text, position) {
    // Before any processor runs: one that throws, or that never returns because the
    // page goes away in it, must not get the same update again and again.
    this.position = position;
    this.heard = true;
    this.deliver(text);
  }

  /** @param {End} end */
  onend(end) {
    if (!end.failed) {
      this.tries = 0;
      const spent = this.env.now() - this.openedAt;
      this.openIn(this.heard ? 0 : this.settings.interval - spent);
      return;
    }
    this.tries += 1;
    const { status, message } = end;
    const problem = { status, message, tries: this.tries, wait: this.waitBefore(this.tries) };
    // First the timer, then the callback: it may unsubscribe.
    this.openIn(problem.wait);
    attempt(this.env, 'onerror', () => this.settings.onerror(this.name, problem));
  }

  /** @param {number} ms */
  openIn(ms) {
    if (ms > 0) {
      this.timer = this.env.setTimeout(() => this.open(), ms);
    } else {
      // Not by a timer of 0 ms: in a hidden tab that takes up to a minute.
      this.open();
    }
  }

  /** @param {number} tries */
  waitBefore(tries) {
    let wait = NaN;
    attempt(this.env, 'backoff', () => {
      wait = this.settings.backoff(tries);
    });
    // One that throws or gives no number must neither end the polling nor let it spin.
    return wait >= 0 && wait < Infinity ? wait : DEFAULTS.backoff(tries);
  }
}

/**
 * Run what others wrote; what it throws is shown and goes no further.
 * @param {Environment} env
 * @param {string} what
 * @param {() => void} run
 */
function attempt(env, what, run) {
  try {
    run();
  } catch (error) {
    env.console.error('updates: ' + what + ' failed:', error);
  }
}

/** @returns {Environment} */
function browser() {
  // Looked up at each call, and called as methods of the window, as browsers demand.
  return {
    fetch: (url, init) => root.fetch(url, init),
    setTimeout: (run, ms) => root.setTimeout(run, ms),
    clearTimeout: (timer) => root.clearTimeout(timer),
    now: () => root.performance.now(),
    random: Math.random,
    isForeign: (url) => {
      const here = root.location;
      const base = root.document ? root.document.baseURI : here && here.href;
      return Boolean(here) && new URL(url, base).origin !== here.origin;
    },
    console: root.console,
  };
}

/**
 * Make a set of channels and processors of its own, which knows nothing of the page.
 * @param {Partial<Environment>} [environment] - what differs from the browser's
 * @returns {UpdatesSet}
 */
function create(environment) {
  const env = Object.assign(browser(), environment);
  const backoff = fullJitter(1000, 30000, env.random);
  /** @type {Map<string, Channel>} */
  const channels = new Map();
  /** @type {Map<string, Map<string, Processor[]>>} - by name, then by type */
  const processors = new Map();
  let suspended = false;

  /** @type {UpdatesSet['subscribe']} */
  function subscribe(urls, options) {
    const settings = settle(Object.assign({}, DEFAULTS, { backoff }), options || {});
    Object.keys(urls).forEach((name) => {
      const url = urls[name];
      if (!url) {
        return;
      }
      const known = channels.get(name);
      if (known) {
        if (known.url !== url) {
          env.console.warn('updates: ' + name + ' stays subscribed to ' + known.url +
            '; unsubscribe it first for ' + url);
        }
        return;
      }
      const channel = new Channel(name, url, settings, env, (text) => deliver(name, text));
      channels.set(name, channel);
      if (!suspended) {
        channel.start();
      }
    });
  }

  /** @type {UpdatesSet['unsubscribe']} */
  function unsubscribe(name) {
    const channel = channels.get(name);
    if (channel) {
      channels.delete(name);
      channel.stop();
    }
  }

  /** @type {UpdatesSet['registerProcessor']} */
  function registerProcessor(name, type, processor) {
    if (typeof processor !== 'function') {
      throw new TypeError('updates: the processor of ' + name + ', ' + type + ' is no function');
    }
    const types = processors.get(String(name)) || new Map();
    const list = types.get(String(type)) || [];
    processors.set(String(name), types);
    types.set(String(type), list);
    list.push(processor);
  }

  /**
   * Hand one update to its processors. What cannot be one is passed over: asking for
   * it again would bring it again.
   *
   * @param {string} name
   * @param {string} text
   */
  function deliver(name, text) {
    let data;
    try {
      data = JSON.parse(text);
    } catch (error) {
      env.console.warn('updates: an update of ' + name + ' is not JSON, passed over:', error);
      return;
    }
    if (typeof data !== 'object' || data === null || Array.isArray(data)) {
      env.console.warn('updates: an update of ' + name + ' is no object, passed over:', data);
      return;
    }
    // An object has no use as a type, and String() of one can throw.
    if (data.type === undefined || typeof data.type === 'object') {
      return;
    }
    const type = String(data.type);
    const types = processors.get(name);
    const list = types && types.get(type);
    // One that a processor registers begins with the next update: forEach goes no
    // further than the list was long when it began.
    (list || []).forEach((processor) => {
      attempt(env, 'a processor of ' + name + ', ' + type, () => processor(data));
    });
  }

  function close() {
    Array.from(channels.keys()).forEach(unsubscribe);
  }

  function suspend() {
    suspended = true;
    channels.forEach((channel) => {
      channel.stop();
    });
  }

  function resume() {
    suspended = false;
    channels.forEach((channel) => {
      channel.start();
    });
  }

  function retry() {
    channels.forEach((channel) => {
      channel.retry();
    });
  }

  return { subscribe, unsubscribe, registerProcessor, close, suspend, resume, retry };
}

/**
 * Let a set follow the life of the page it is in.
 *
 * pagehide and pageshow, never unload: a page with an unload handler, or with a request
 * in flight, is kept out of the back/forward cache. The first pageshow of a page finds
 * everything started already and changes nothing.
 *
 * @param {UpdatesSet} updates
 */
function followPage(updates) {
  if (!root.addEventListener) {
    return;
  }
  root.addEventListener('pagehide', updates.suspend);
  root.addEventListener('pageshow', updates.resume);
  root.addEventListener('online', updates.retry);
  if (root.document) {
    root.document.addEventListener('visibilitychange', () => {
      if (root.document.visibilityState === 'visible') {
        updates.retry();
      }
    });
  }
}

/** The page's own set. */
const page = create();
followPage(page);

const { subscribe, unsubscribe, registerProcessor, close } = page;

export { subscribe, unsubscribe, registerProcessor, close, create, fullJitter };
