// Buttons that save pictures as PNG, beside the links that save them as SVG and need no script.
const {ground} = document.currentScript.dataset;
const inPng = text => text.replace('SVG', 'PNG');

async function savePng(link) {
  const image = new Image();
  image.src = link.href;
  await image.decode();
  const saved = document.createElement('a');
  saved.download = link.download.replace(/svg$/, 'png');
  saved.href = raster(image, ground);
  saved.click();
}

for (const link of document.querySelectorAll('.save a[download$=".svg"]')) {
  const button = document.createElement('button');
  [button.type, button.textContent] = ['button', inPng(link.textContent)];
  button.dataset.save = 'png';
  button.setAttribute('aria-label', inPng(link.getAttribute('aria-label')));
  button.addEventListener('click', () => savePng(link));
  link.after(' · ', button);
}
