/*
 * The example in a browser: page and relay on two ports, so two origins, and Django's session
 * cookie as it is by default.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Demo, countingProxy, logIn, messages, online, openChromium, shows, until } from './browsing.mjs';

test('updates from the form, by POST to the relay and from the shell appear to all', async (t) => {
  const demo = await Demo.start(t);
  const browser = await openChromium(t);
  const ann = await logIn(browser, demo.url, 'ann');
  const bob = await logIn(browser, demo.url, 'bob');

  await ann.getByRole('textbox', { name: 'Message' }).fill('by form');
  await ann.getByRole('button', { name: 'Send' }).click();
  await shows(ann, messages, ['ann by form']);
  await shows(bob, messages, ['ann by form']);
  assert.equal(await ann.getByRole('textbox', { name: 'Message' }).inputValue(), '');

  await demo.post({ type: 'message', user: 'curl', text: 'by POST' });
  await shows(ann, messages, ['curl by POST', 'ann by form']);

  await demo.shell(t, 'from pushserver.utils import updates\n' +
    'updates.send_update("board", {"type": "message", "user": "shell", "text": "by shell"})\n');
  for (const page of [ann, bob]) {
    await shows(page, messages, ['shell by shell', 'curl by POST', 'ann by form']);
  }
});

test('the list of who is online follows users, not tabs', async (t) => {
  const demo = await Demo.start(t);
  const browser = await openChromium(t);
  const ann = await logIn(browser, demo.url, 'ann');
  await shows(ann, online, ['ann']);
  const cookies = await ann.context().cookies();
  const session = cookies.find((cookie) => cookie.name === 'sessionid');
  assert.equal(session.sameSite, 'Lax');

  const bob = await logIn(browser, demo.url, 'bob');
  await shows(ann, online, ['ann', 'bob']);
  await shows(bob, online, ['ann', 'bob']);

  // A second tab that comes and goes changes nothing, nor do the polls that each update ends.
  await ann.evaluate(() => {
    window.lists = [];
    Updates.registerProcessor('board', 'online', (data) => window.lists.push(data.users));
  });
  const second = await bob.context().newPage();
  await second.goto(demo.url);
  await shows(second, online, ['ann', 'bob']);
  await second.close();
  for (const text of ['1', '2', '3']) {
    await demo.post({ type: 'message', user: 'curl', text });
  }
  await shows(ann, messages, ['curl 3', 'curl 2', 'curl 1']);

  // Whoever closes the last tab is gone a few seconds later, and cleo's coming shows that
  // nothing else was said before.
  const cleo = await logIn(browser, demo.url, 'cleo');
  await shows(ann, online, ['ann', 'bob', 'cleo']);
  await bob.close();
  await shows(ann, online, ['ann', 'cleo']);
  await cleo.getByRole('button', { name: 'Log out' }).click();
  await cleo.getByRole('heading', { name: 'Who are you?' }).waitFor();
  await shows(ann, online, ['ann']);
  assert.deepEqual(await ann.evaluate(() => window.lists),
    [['ann', 'bob', 'cleo'], ['ann', 'cleo'], ['ann']]);
});

test('what an update says is shown as text', async (t) => {
  const demo = await Demo.start(t);
  const browser = await openChromium(t);
  const ann = await logIn(browser, demo.url, 'ann');
  const text = '<img src=x onerror="document.title = \'run\'">&amp;';
  await demo.post({ type: 'message', user: '<b>curl</b>', text });
  await shows(ann, messages, [`<b>curl</b> ${text}`]);
  await demo.post({ type: 'online', users: [text] });
  await shows(ann, online, [text]);
  assert.equal(await ann.locator('main img').count(), 0);
  assert.equal(await ann.title(), 'pushserver example');
});

test('a message that is not published stays in the form, with the reason below', async (t) => {
  const demo = await Demo.start(t);
  const browser = await openChromium(t);
  const ann = await logIn(browser, demo.url, 'ann');
  // As after logging out in another tab: Django answers with the page to log in.
  await ann.context().clearCookies({ name: 'sessionid' });
  await ann.getByRole('textbox', { name: 'Message' }).fill('kept');
  await ann.getByRole('button', { name: 'Send' }).click();
  await ann.getByRole('alert').filter({ hasText: 'Not sent' }).waitFor();
  assert.equal(await ann.getByRole('textbox', { name: 'Message' }).inputValue(), 'kept');
  assert.deepEqual(await messages(ann), []);
});

test('localhost works as 127.0.0.1 does, with cookies of its own', async (t) => {
  const demo = await Demo.start(t);
  const browser = await openChromium(t);
  const ann = await logIn(browser, `http://localhost:${demo.port}/`, 'ann');
  await shows(ann, online, ['ann']);
  await demo.post({ type: 'message', user: 'curl', text: 'Hello' });
  await shows(ann, messages, ['curl Hello']);
});

test('a page from the back/forward cache goes on where it was', async (t) => {
  const demo = await Demo.start(t);
  const browser = await openChromium(t, {
    ignoreDefaultArgs: ['--disable-back-forward-cache'],
  });
  const ann = await logIn(browser, demo.url, 'ann');
  await demo.post({ type: 'message', user: 'curl', text: 'before' });
  await shows(ann, messages, ['curl before']);
  await ann.evaluate(() => {
    window.addEventListener('pageshow', (event) => {
      window.persisted = event.persisted;
    });
  });

  await ann.goto(`${demo.url}static/board/board.css`);
  await demo.post({ type: 'message', user: 'curl', text: 'meanwhile' });
  // The event that Playwright waits for otherwise does not come for such a page.
  await ann.goBack({ waitUntil: 'commit' });

  await shows(ann, messages, ['curl meanwhile', 'curl before']);
  assert.equal(await ann.evaluate(() => window.persisted), true);
  await demo.post({ type: 'message', user: 'curl', text: 'after' });
  await shows(ann, messages, ['curl after', 'curl meanwhile', 'curl before']);
});

test('polling the relay on its other port costs no preflights', async (t) => {
  const demo = await Demo.start(t);
  const seen = { OPTIONS: 0, GET: 0 };
  const counter = await countingProxy(t, demo.relayPort, (request) => {
    seen[request.method] += 1;
  });
  // The page and its CORS are as ever; only the connections go to another port.
  const browser = await openChromium(t, {}, [
    `--host-resolver-rules=MAP 127.0.0.1:${demo.relayPort} 127.0.0.1:${counter}`,
  ]);
  const ann = await logIn(browser, demo.url, 'ann');
  await shows(ann, online, ['ann']);

  async function publishFive(user) {
    for (let i = 0; i < 5; i++) {
      await demo.post({ type: 'message', user, text: String(i) });
      await until(async () => (await messages(ann))[0] === `${user} ${i}`, `${user} ${i}`);
    }
  }

  await publishFive('by query');
  assert.equal(seen.OPTIONS, 0);
  assert.ok(seen.GET >= 5, `saw ${seen.GET} polls`);

  // One that is sent is seen: by headers each position needs one (docs/browser.md).
  await ann.evaluate(() => {
    const { updates } = document.getElementById('board').dataset;
    Updates.unsubscribe('board');
    Updates.subscribe({ board: updates }, { resumeBy: 'headers' });
  });
  await publishFive('by headers');
  assert.ok(seen.OPTIONS >= 5, `saw ${seen.OPTIONS} preflights`);
});
