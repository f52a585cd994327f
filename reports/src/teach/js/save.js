// Pictures to save, as SVG and as PNG.

// A panel as a picture that stands alone: what the style sheet says is written into it.
const PROPERTIES =
  'fill fill-opacity stroke stroke-width stroke-dasharray stroke-linecap stroke-linejoin opacity ' +
  'font-family font-size font-style font-weight text-anchor paint-order visibility display';

// A panel that draws no SVG has a function that makes one.
teach.svg = panel => (panel.picture?.() ?? standalone(panel)).replace(CONTROLS, '\ufffd');

// Characters that no XML may have.
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g;

function standalone(panel) {
  const live = panel.querySelector('svg');
  const copy = live.cloneNode(true);
  const [from, to] = [live, copy].map(svg => [svg, ...svg.querySelectorAll('*')]);
  from.forEach((element, i) => {
    const style = getComputedStyle(element);
    const rules = PROPERTIES.split(' ').map(name => `${name}:${style.getPropertyValue(name)}`);
    to[i].setAttribute('style', rules.join(';'));
    for (const name of ['class', 'tabindex', 'role']) to[i].removeAttribute(name);
  });
  const {width, height} = live.getBoundingClientRect();
  const ground = getComputedStyle(document.body).backgroundColor;
  copy.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  copy.setAttribute('width', width);
  copy.setAttribute('height', height);
  copy.setAttribute('style', `${copy.getAttribute('style')};background:${ground}`);
  return new XMLSerializer().serializeToString(copy);
}

teach.png = async panel => {
  const image = new Image();
  image.src = inAddress(teach.svg(panel));
  await image.decode();
  return raster(image, getComputedStyle(document.body).backgroundColor);
};

const inAddress = svg => `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;

async function save(figure, kind) {
  for (const panel of figure.root.querySelectorAll('[data-panel]')) {
    const link = document.createElement('a');
    link.download = `${figure.name}-${panel.dataset.panel}.${kind}`;
    link.href = kind === 'png' ? await teach.png(panel) : inAddress(teach.svg(panel));
    link.click();
  }
}

function savers(figure) {
  for (const kind of ['svg', 'png']) {
    const button = document.createElement('button');
    [button.type, button.textContent] = ['button', `Save as ${kind.toUpperCase()}`];
    button.dataset.save = kind;
    button.addEventListener('click', () => save(figure, kind));
    figure.get('.controls').append(button);
  }
}

// All pictures of a page as JSON in an element of it, where its address asks for them: what
// `--svg` reads. Panels take their sizes anew and `draw` draws them, since a browser without a
// screen may not have come to the frame that does.
function pictures(figures, draw) {
  if (location.hash !== '#pictures') return;
  for (const {panels} of figures) panels.forEach(panel => panel.measure());
  draw();
  const all = figures.flatMap(figure =>
    [...figure.root.querySelectorAll('[data-panel]')]
      .filter(panel => panel.getClientRects().length > 0)
      .map(panel => ({name: `${figure.name}-${panel.dataset.panel}`, svg: teach.svg(panel)})),
  );
  const place = document.createElement('script');
  place.type = 'application/json';
  place.id = 'pictures';
  place.textContent = JSON.stringify(all).replace(/</g, '\\u003c');
  document.body.append(place);
}
