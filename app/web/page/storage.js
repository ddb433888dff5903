// Owns what this browser remembers: drafts, unsent messages, choices. Works without storage, for one page view.

const memory = new Map();

function read(store, name) {
  try {
    return store.getItem(name);
  } catch {
    return memory.get(name) ?? null;
  }
}

let left = false; // the person has gone: what is still on its way writes nothing any more

function write(store, name, value) {
  if (left) return;
  try {
    if (value === null || value === undefined) store.removeItem(name);
    else store.setItem(name, value);
  } catch {
    memory.set(name, value); // switched off or full
  }
}

const lasting = () => window.localStorage;
const ofTab = () => window.sessionStorage;

function guarded(store) {
  try {
    return store();
  } catch {
    return { getItem: (name) => memory.get(name) ?? null, setItem: (name, value) => memory.set(name, value), removeItem: (name) => memory.delete(name) };
  }
}

export const draft = {
  of: (key) => read(guarded(lasting), `draft:${key}`) ?? "",
  keep: (key, text) => write(guarded(lasting), `draft:${key}`, text || null),
};

/** The files of a draft: they are with the server already. */
export const draftFiles = {
  of(key) {
    try {
      const found = JSON.parse(read(guarded(lasting), `draft-files:${key}`) ?? "[]");
      return Array.isArray(found) ? found.filter((each) => typeof each?.file_id === "string" && typeof each.name === "string") : [];
    } catch {
      return [];
    }
  },
  keep: (key, files) => write(guarded(lasting), `draft-files:${key}`, files.length ? JSON.stringify(files) : null),
};

/** Messages that were typed and have no receipt yet: a reload sends them again, with the ids they have. */
export const unsent = {
  of(key) {
    try {
      const found = JSON.parse(read(guarded(ofTab), `unsent:${key}`) ?? "[]");
      return Array.isArray(found) ? found : [];
    } catch {
      return [];
    }
  },
  keep: (key, messages) => write(guarded(ofTab), `unsent:${key}`, messages.length ? JSON.stringify(messages) : null),
  /** The chats that have any. */
  keys: () => Object.keys(guarded(ofTab)).filter((name) => name.startsWith("unsent:")).map((name) => name.slice("unsent:".length)),
};

/** The token lives as long as the tab. */
export const token = {
  get: () => read(guarded(ofTab), "token"),
  set: (value) => write(guarded(ofTab), "token", value),
};

export const choice = {
  get: (name) => read(guarded(lasting), name),
  set: (name, value) => write(guarded(lasting), name, value),
};

/** Forget what a person left here: token, drafts, unsent messages, the chat that was open, also in the address. */
export function forgetPerson() {
  forget(/^(?:draft:|draft-files:|unsent:|(?:chat|token|user)$)/);
  left = true;
}

/** Whoever signs in after somebody else, whose token was not good any more, finds nothing of that person. */
export function signedIn(user) {
  const before = read(guarded(ofTab), "user");
  if (before !== null && before !== user) forget(/^(?:draft:|draft-files:|unsent:|chat$)/);
  write(guarded(ofTab), "user", user);
}

function forget(names) {
  memory.clear();
  for (const store of [guarded(lasting), guarded(ofTab)]) {
    for (const name of Object.keys(store)) if (names.test(name)) store.removeItem(name);
  }
  history.replaceState(null, "", location.pathname);
}
