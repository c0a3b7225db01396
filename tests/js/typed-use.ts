/*
 * Checked by tsc, never run: what users write in TypeScript, with the module and with the
 * global of the classic script. A line marked @ts-expect-error must be an error.
 */
import { create, fullJitter, registerProcessor, subscribe, type Options } from '../../js/updates';

const options: Options = { credentials: false, backoff: fullJitter(500, 10000) };

subscribe({ poll: '/updates/poll-1', chat: null }, options);
subscribe({ poll: '/updates/poll-1' }, {
  ongap: (name) => name.toUpperCase(),
  onerror: (name, problem) => `${name} ${problem.status.toFixed()} ${problem.message}`,
});
registerProcessor('poll', 'answer', (data) => data.value);
registerProcessor('poll', 1, () => {});
create({ random: () => 0.5 }).suspend();

declare const jQuery: JQueryStatic;
jQuery.updates.subscribe({ poll: '/updates/poll-1' });

// @ts-expect-error: no such option
subscribe({}, { credential: false });
// @ts-expect-error: no function
registerProcessor('poll', 'answer', 'alert');
