// Every picture of the page as PNG, as JSON in an element of it: what `--png` reads.
addEventListener('load', () => {
  const {ground} = document.body.dataset;
  const all = [...document.images].map(image => ({name: image.alt, png: raster(image, ground)}));
  const place = document.createElement('script');
  place.type = 'application/json';
  place.id = 'pictures';
  place.textContent = JSON.stringify(all);
  document.body.append(place);
});
