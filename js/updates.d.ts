/* Made from updates.js by build.mjs; change that and run: npm run build */

/**
 * Where a channel stands; goes out with the next request.
 */
export type Position = {
    /**
     * - HTTP date as the relay sent it
     */
    lastModified: string;
    /**
     * - decides between messages of one second; '' if none could be read
     */
    etag: string;
};
/**
 * - milliseconds before try `tries`, from 1
 */
export type Backoff = (tries: number) => number;
/**
 * How a transport ended.
 */
export type End = {
    /**
     * - false: go on at once (an update, a time-out); true: back off
     */
    failed: boolean;
    /**
     * - HTTP status, 0 when there was none
     */
    status: number;
    /**
     * - for people
     */
    message: string;
};
/**
 * What `onerror` is told.
 */
export type Problem = {
    /**
     * - HTTP status, 0 when there was none (network, CORS)
     */
    status: number;
    /**
     * - for people
     */
    message: string;
    /**
     * - failures in a row, from 1
     */
    tries: number;
    /**
     * - milliseconds until the next try
     */
    wait: number;
};
/**
 * What can be set per subscription.
 */
export type Settings = {
    /**
     * - send cookies, also to another origin; default true
     */
    credentials: boolean;
    /**
     * - how the position is sent: as
     * If-Modified-Since and If-None-Match, or as ?last_event_id= (no CORS preflight);
     * default 'auto': by query to a relay on another origin that is known to take it
     */
    resumeBy: "auto" | "headers" | "query";
    /**
     * - least milliseconds from one request to the next where there
     * was no update, so that a relay that never holds cannot make us spin; default 1000
     */
    interval: number;
    /**
     * - milliseconds after which a request is given up and repeated,
     * for connections that died without a word; 0 waits for ever; default 120000
     */
    timeout: number;
    /**
     * - default fullJitter(1000, 30000)
     */
    backoff: Backoff;
    /**
     * - updates were lost before the one that follows;
     * default: nothing
     */
    ongap: (name: string) => void;
    /**
     * - default: nothing
     */
    onerror: (name: string, problem: Problem) => void;
};
export type Options = Partial<Settings>;
/**
 * - gets the whole update, an object
 */
export type Processor = (data: any) => void;
/**
 * What the client needs of the world around it; tests bring their own.
 */
export type Environment = {
    fetch: (url: string, init: RequestInit) => Promise<Response>;
    setTimeout: (run: () => void, ms: number) => any;
    clearTimeout: (timer: any) => void;
    /**
     * - milliseconds from any start, never backwards
     */
    now: () => number;
    /**
     * - from 0 to below 1
     */
    random: () => number;
    /**
     * - whether CORS rules apply to it
     */
    isForeign: (url: string) => boolean;
    console: Pick<Console, "warn" | "error">;
};
/**
 * One way of getting messages. After close() it calls nothing until opened again.
 */
export type Transport = {
    /**
     * - begin behind a position, null: oldest
     */
    open: (position: Position | null) => void;
    /**
     * - abort what is in flight; its late answer is ignored
     */
    close: () => void;
    onmessage: (text: string, position: Position) => void;
    /**
     * - messages were lost before the next one
     */
    ongap: () => void;
    /**
     * - it is closed now
     */
    onend: (end: End) => void;
};
/**
 * A set of channels with their processors.
 */
export type UpdatesSet = {
    /**
     * -
     * follow each URL under its name; a name that is subscribed already and an empty URL are skipped
     */
    subscribe: (urls: {
        [name: string]: string | null | undefined;
    }, options?: Options) => void;
    /**
     * - abort and forget; processors stay registered
     */
    unsubscribe: (name: string) => void;
    /**
     * -
     * call processor for each update of that name whose type is, as a string, `type`
     */
    registerProcessor: (name: string, type: any, processor: Processor) => void;
    /**
     * - unsubscribe all
     */
    close: () => void;
    /**
     * - abort all requests, keep the positions
     */
    suspend: () => void;
    /**
     * - go on after suspend()
     */
    resume: () => void;
    /**
     * - whoever waits for a next try, try now
     */
    retry: () => void;
};
export const subscribe: (urls: {
    [name: string]: string | null | undefined;
}, options?: Options) => void;
export const unsubscribe: (name: string) => void;
export const registerProcessor: (name: string, type: any, processor: Processor) => void;
export const close: () => void;
/**
 * Make a set of channels and processors of its own, which knows nothing of the page.
 * @param {Partial<Environment>} [environment] - what differs from the browser's
 * @returns {UpdatesSet}
 */
export function create(environment?: Partial<Environment>): UpdatesSet;
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
export function fullJitter(base: number, cap: number, random?: () => number): Backoff;

/* The global of the classic script, and what it puts beside it. */
export as namespace Updates;
declare global {
    interface JQueryStatic {
        updates: typeof import('./updates');
    }
}
