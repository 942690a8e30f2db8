// Reads and writes the page. Runs anew for each call: arguments are the selectors, what to do, and with what.
const [S, task, given] = arguments;

const first = (list, root) => {
  for (const selector of list) {
    const found = (root || document).querySelector(selector);
    if (found) return found;
  }
  return null;
};
const all = (list, root) => {
  for (const selector of list) {
    const found = [...(root || document).querySelectorAll(selector)];
    if (found.length) return found;
  }
  return [];
};
const visible = (element) => !!element && element.getClientRects().length > 0;
const words = (element) => (element.innerText || '').replace(/\s+/g, ' ').trim().slice(0, 300);

// The text as it was written: pictures of emoji count as what they stand for.
const plain = (node) => {
  if (node.nodeType === Node.TEXT_NODE) return node.nodeValue;
  if (node.nodeType !== Node.ELEMENT_NODE) return '';
  if (node.nodeName === 'IMG') return node.getAttribute('data-plain-text') || node.alt || '';
  if (node.nodeName === 'BR') return '\n';
  let text = '';
  for (const child of node.childNodes) {
    if (text && (child.nodeName === 'P' || child.nodeName === 'DIV')) text += '\n';
    text += plain(child);
  }
  return text;
};

const chat = () => first(S.chat);
const box = () => (chat() ? first(S.box, chat()) : null);
const modal = () => [S.modal].map((list) => all(list)).flat().find(visible) || null;

const direction = (bubble) => {
  const id = bubble.getAttribute('data-id') || '';
  const is = (list) => list.some((s) => bubble.matches(s)) || !!first(list, bubble) || list.some((s) => bubble.closest(s));
  if (id.startsWith('true_') || is(S.outgoing)) return 'out';
  if (id.startsWith('false_') || is(S.incoming)) return 'in';
  return null;
};

const tick = (bubble) => Object.keys(S.ticks).find((name) => first(S.ticks[name], bubble)) || null;

const message = (bubble) => {
  const side = direction(bubble);
  if (!side) return null;
  const text = first(S.text, bubble);
  const author = bubble.matches(S.author[0]) ? bubble : first(S.author, bubble);
  return {
    id: bubble.getAttribute('data-id'),
    out: side === 'out',
    text: text ? plain(text).slice(0, 70000) : '',
    tick: tick(bubble),
    media: !!first(S.media, bubble),
    author: author ? (author.getAttribute(S.author_attribute) || '').slice(0, 300) : '',
  };
};

const tasks = {
  look: () => {
    const qr = first(S.qr);
    const lying = modal();
    const body = words(document.body || document.documentElement).toLowerCase();
    let account = null;
    try {
      const kept = localStorage.getItem('last-wid-md') || localStorage.getItem('last-wid') || '';
      account = (/(\d{6,15})(?::\d+)?@/.exec(kept) || [])[1] || null;
    } catch { /* The page forbids it: then the number is not known. */ }
    return {
      ready: visible(first(S.ready)),
      qr: visible(qr) ? qr.getAttribute(S.qr_attribute) : null,
      expired: visible(qr) && visible(first(S.qr_reload)),
      offline: visible(first(S.offline)),
      modal: lying ? words(lying) : null,
      locked: S.locked_words.some((part) => body.includes(part)),
      account,
    };
  },
  renew: () => first(S.qr_reload),
  chat: () => {
    const main = chat();
    const lying = modal();
    const title = main ? first(S.title, main) : null;
    return {
      open: !!box(),
      modal: lying ? words(lying) : null,
      title: title ? (title.getAttribute('title') || words(title)).slice(0, 200) : '',
      messages: main ? all(S.bubble, main).slice(-given.most).map(message).filter(Boolean) : [],
    };
  },
  unread: () => all(S.rows).slice(0, 300).map((row) => {
    const mark = first(S.unread, row);
    if (!visible(mark) || first(S.group, row)) return null;
    return { row, count: parseInt(mark.textContent, 10) || 1 };
  }).filter(Boolean).slice(0, given.most),
  // Empties the box: a draft may be left of a message that was not sent.
  clear: () => {
    const field = box();
    if (!field) return null;
    field.focus();
    document.execCommand('selectAll');
    document.execCommand('delete');
    return plain(field);
  },
  insert: () => {
    const field = box();
    if (!field) return false;
    if (document.activeElement !== field) field.focus();
    return document.execCommand('insertText', false, given.text);
  },
  box,
  body: () => document.body,
  written: () => (box() ? plain(box()) : null),
  send: () => {
    const found = first(S.send, chat() || document);
    return found ? found.closest('button, [role="button"]') || found : null;
  },
};
return tasks[task]();
