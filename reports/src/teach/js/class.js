// In class: one chapter at a time in large type, and a state that can be linked.

const lecture = {
  chapters: [...document.querySelectorAll('.chapter')],
  now: 0,

  on: () => document.body.dataset.mode === 'class',

  set(on) {
    if (on) document.body.dataset.mode = 'class';
    else delete document.body.dataset.mode;
    document.getElementById('class-mode').setAttribute('aria-pressed', String(on));
    if (on) lecture.show(lecture.now);
    address.write();
  },

  // Shows a chapter; without the mode all of them stand below each other.
  show(index) {
    lecture.now = Math.max(0, Math.min(lecture.chapters.length - 1, index));
    lecture.chapters.forEach((chapter, i) =>
      chapter.classList.toggle('shown', i === lecture.now),
    );
    if (lecture.on()) scrollTo(0, 0);
    address.write();
  },

  key(event) {
    if (!lecture.on() || event.altKey || event.ctrlKey || event.metaKey) return;
    // points, sliders and choices keep their arrow keys
    if (event.target.closest('.handle,input,summary,[role=region]')) return;
    const by = {ArrowRight: 1, PageDown: 1, ArrowLeft: -1, PageUp: -1}[event.key];
    if (event.key === 'Escape') lecture.set(false);
    else if (by) lecture.show(lecture.now + by);
    else return;
    event.preventDefault();
  },
};

// The state of all figures as far as it is not the one that they start with, in the part of the
// address behind the #, so that a link opens the same picture.
const address = {
  rounded: x =>
    typeof x === 'number'
      ? Math.round(x * 1000) / 1000
      : Array.isArray(x)
        ? x.map(address.rounded)
        : x,

  changed(figure) {
    const {state, start} = figure;
    const same = key => JSON.stringify(state[key]) === JSON.stringify(start[key]);
    const keys = Object.keys(start).filter(key => !same(key));
    return Object.fromEntries(keys.map(key => [key, address.rounded(state[key])]));
  },

  text() {
    const all = {};
    if (lecture.on()) all.chapter = lecture.chapters[lecture.now].id;
    for (const {figure} of Object.values(teach.figures)) {
      const changed = address.changed(figure);
      if (Object.keys(changed).length > 0) all[figure.name] = changed;
    }
    return Object.keys(all).length === 0 ? '' : `#state=${encodeURIComponent(JSON.stringify(all))}`;
  },

  write() {
    if (!teach.ready) return;
    clearTimeout(address.later);
    address.later = setTimeout(() => {
      const hash = address.text();
      // an anchor of the contents stays until there is a state to say
      if (hash || location.hash.startsWith('#state=')) {
        history.replaceState(null, '', hash || location.pathname);
      }
    }, 200);
  },

  // Whether a value may stand where the figure starts with another: the same kind, all numbers
  // finite, lists of points of the same dimension but of any length up to a hundred.
  fits(value, start) {
    if (typeof start === 'number') return Number.isFinite(value) && Math.abs(value) <= 1e3;
    if (!Array.isArray(start)) return typeof value === typeof start && value !== null;
    if (!Array.isArray(value) || value.length > 100) return false;
    const like = start[0];
    if (typeof like === 'number' && value.length !== start.length && start.length === 2) return false;
    return like === undefined ? value.length === 0 : value.every(x => address.fits(x, like));
  },

  read() {
    if (!location.hash.startsWith('#state=')) return;
    let all;
    try {
      all = JSON.parse(decodeURIComponent(location.hash.slice('#state='.length)));
    } catch {
      return;
    }
    for (const {figure} of Object.values(teach.figures)) {
      const given = Object.entries(all?.[figure.name] ?? {}).filter(
        ([key, value]) => key in figure.start && address.fits(value, figure.start[key]),
      );
      figure.state = {...structuredClone(figure.start), ...Object.fromEntries(given)};
      try {
        figure.restored();
        figure.update();
      } catch {
        // a link that somebody has cut or changed: the figure stands where it starts
        figure.state = structuredClone(figure.start);
        figure.restored();
        figure.update();
      }
    }
    const chapter = lecture.chapters.findIndex(c => c.id === all?.chapter);
    if (chapter >= 0) {
      lecture.now = chapter;
      lecture.set(true);
    }
  },
};

function mountClass() {
  const mode = document.getElementById('class-mode');
  mode.hidden = false;
  mode.addEventListener('click', () => lecture.set(!lecture.on()));
  addEventListener('keydown', lecture.key);
  addEventListener('hashchange', address.read);
  // a link of the contents leads to its chapter in the mode, too
  document.querySelectorAll('nav a').forEach((link, i) =>
    link.addEventListener('click', event => {
      lecture.now = i;
      if (!lecture.on()) return;
      event.preventDefault();
      lecture.show(i);
    }),
  );
  for (const {figure} of Object.values(teach.figures)) savers(figure);
  Object.assign(teach, {lecture, address});
  lecture.chapters[0].classList.add('shown');
}
