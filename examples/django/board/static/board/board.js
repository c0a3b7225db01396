/*
 * The page: shows updates as they come, and sends the form.
 *
 * Updates may come from anybody who may publish, so what is in them is shown as text only.
 */
'use strict';

const board = document.getElementById('board');
const messages = document.getElementById('messages');
const online = document.getElementById('online');

Updates.registerProcessor('board', 'message', (data) => {
  const user = document.createElement('strong');
  user.textContent = data.user;
  const item = document.createElement('li');
  item.append(user, ' ', String(data.text));
  messages.prepend(item);
  if (messages.children.length > 100) {
    messages.lastElementChild.remove();
  }
});

Updates.registerProcessor('board', 'online', (data) => {
  online.replaceChildren(...data.users.map((name) => {
    const item = document.createElement('li');
    item.textContent = name;
    return item;
  }));
});

Updates.subscribe({ board: board.dataset.updates });

// The message comes back as an update, to this page as to all others.
const form = document.getElementById('publish');
const error = form.querySelector('.error');

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  error.textContent = await send();
  error.hidden = error.textContent === '';
  if (error.hidden) {
    form.reset();
  }
});

/** Send the form, the CSRF token with it; return what went wrong, '' for nothing. */
async function send() {
  let response;
  try {
    response = await fetch(form.action, { method: 'POST', body: new FormData(form) });
  } catch {
    return 'Not sent: Django does not answer.';
  }
  if (response.status === 204) {
    return '';
  }
  // The view's own words are plain text; anything else is a page, such as that to log in.
  const plain = (response.headers.get('Content-Type') || '').startsWith('text/plain');
  return plain ? response.text() : 'Not sent: load this page anew, or log in again.';
}
