//! The browser driver against a page that does everything that a good page must not do: the checks
//! of other pages can fail.

#![allow(clippy::unwrap_used)]

use crate::browser;

const BAD: &str = r#"<!doctype html><html lang="en"><meta charset="utf-8"><title>bad</title>
<style>#p{position:absolute;left:40px;top:40px;width:30px;height:30px;touch-action:none}</style>
<div id="p" tabindex="0"></div><img src="http://example.org/x.png">
<script>
const p = document.getElementById('p'), log = [];
for (const kind of ['pointerdown', 'pointermove', 'pointerup'])
  p.addEventListener(kind, e => {
    if (kind === 'pointerdown') p.setPointerCapture(e.pointerId);
    log.push([kind, e.clientX, e.pointerType]);
  });
p.addEventListener('keydown', e => log.push(['key', e.key]));
console.error('wrong');
</script>"#;

#[test]
fn the_driver_moves_what_it_should_and_sees_every_fault() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bad.html");
    std::fs::write(&file, BAD).unwrap();
    let Some(mut page) = browser::Page::open(&file) else {
        return;
    };
    page.wait_for("document.images[0].complete");
    let errors = page.errors();
    assert!(errors.iter().any(|e| e.contains("wrong")), "{errors:?}");
    assert_eq!(page.requests(), ["http://example.org/x.png"]);

    page.drag("#p", (100.0, 0.0));
    assert_eq!(page.number("log.at(-1)[1]"), 155.0);
    assert_eq!(page.text("log.at(-1)[2]"), "mouse");
    page.press("#p", "ArrowRight");
    assert_eq!(page.text("log.at(-1)[1]"), "ArrowRight");
    page.viewport(390, 800);
    page.evaluate("log.length = 0");
    page.swipe("#p", (0.0, 60.0));
    assert_eq!(page.text("log.at(-1)[2]"), "touch");
    if let Some(found) = page.axe() {
        assert!(
            found.iter().any(|v| v.starts_with("image-alt")),
            "{found:?}"
        );
    }
}
