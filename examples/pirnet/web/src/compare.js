// Two pictures on top of each other, and a slider that moves the border between them.

/** Fills a figure with two pictures, each { url, label, fit }, of the size that both are shown in. */
export function compare(figure, before, after, { width, height }) {
  const slider = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 100, value: 50, step: 0.5 });
  slider.setAttribute("aria-label", `Border between ${before.label} on the left and ${after.label} on the right`);
  slider.oninput = () => figure.style.setProperty("--split", `${slider.value}%`);
  const [images, captions] = [document.createElement("div"), document.createElement("figcaption")];
  for (const { url, label, fit } of [before, after]) {
    const image = Object.assign(new Image(), { src: url, alt: label });
    image.style.objectFit = fit ?? "fill";
    images.append(image);
    captions.append(Object.assign(document.createElement("span"), { textContent: label }));
  }
  images.append(slider);
  figure.replaceChildren(images, captions);
  figure.style.setProperty("--split", "50%");
  figure.style.setProperty("--shape", `${width} / ${height}`);
  figure.style.setProperty("--width", width / height);
}

/** Fills a figure with one picture. */
export function show(figure, { url, label }) {
  const caption = Object.assign(document.createElement("figcaption"), { textContent: label });
  figure.replaceChildren(Object.assign(new Image(), { src: url, alt: label }), caption);
}
