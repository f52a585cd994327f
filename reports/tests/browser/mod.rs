//! A headless Chromium for pages made by this crate: opens a file, moves mouse, finger and keys,
//! sees errors and requests.
//!
//! The browser is the system's (or the program named by the variable `CHROMIUM`). Where there is
//! none, [`Page::open`] says "not run". axe-core, the accessibility checker, is a script named by
//! the variable `AXE_CORE`; without it [`Page::axe`] says "not run".

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

mod pipe;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pipe::{PATIENCE, Pipe};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// One page in a browser of its own.
pub struct Page {
    pipe: Pipe,
    session: String,
    errors: Vec<String>,
    requests: Vec<String>,
    marks: u64,
}

impl Page {
    /// Opens a file in a new browser; `None`, and "not run" on standard error, where there is no
    /// Chromium.
    pub fn open(file: &Path) -> Option<Self> {
        let Some(mut pipe) = Pipe::start() else {
            eprintln!("not run: no Chromium (set CHROMIUM or install the package `chromium`)");
            return None;
        };
        let target = pipe.call(None, "Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = pipe.call(None, "Target.attachToTarget", attach);
        let session = attached["sessionId"].as_str().unwrap().to_owned();
        let mut page = Self {
            pipe,
            session,
            errors: Vec::new(),
            requests: Vec::new(),
            marks: 0,
        };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        page.viewport(1280, 900);
        page.go(file);
        Some(page)
    }

    /// Opens another file in the same browser.
    pub fn go(&mut self, file: &Path) {
        let path = file.canonicalize().unwrap();
        let url = format!("file://{}", path.display());
        self.errors.clear();
        self.requests.clear();
        let answer = self.call("Page.navigate", json!({"url": url}));
        assert!(
            answer["errorText"].is_null(),
            "{url}: {}",
            answer["errorText"]
        );
        self.wait_for("document.readyState === 'complete' && location.protocol === 'file:'");
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        let session = self.session.clone();
        self.pipe.call(Some(&session), method, params)
    }

    /// The value of a JavaScript expression (promises are awaited). Panics with the script's own
    /// error.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", params);
        let failed = &answer["exceptionDetails"];
        assert!(failed.is_null(), "{expression}: {failed}");
        answer["result"]["value"].clone()
    }

    /// Text of an expression that must give a string.
    pub fn text(&mut self, expression: &str) -> String {
        let value = self.evaluate(expression);
        let text = value
            .as_str()
            .unwrap_or_else(|| panic!("{expression}: expected a string, found {value}"));
        text.to_owned()
    }

    /// Number of an expression that must give one.
    pub fn number(&mut self, expression: &str) -> f64 {
        let value = self.evaluate(expression);
        value
            .as_f64()
            .unwrap_or_else(|| panic!("{expression}: expected a number, found {value}"))
    }

    /// Waits until an expression is true.
    pub fn wait_for(&mut self, condition: &str) {
        let end = Instant::now() + PATIENCE;
        while self.evaluate(&format!("Boolean({condition})")) != true {
            assert!(Instant::now() < end, "never true: {condition}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sets the width and height of the window in CSS pixels; below 600 pixels of width it is a
    /// phone with a touch screen.
    pub fn viewport(&mut self, width: u32, height: u32) {
        let phone = width < 600;
        let params =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone});
        self.call("Emulation.setDeviceMetricsOverride", params);
        let touch = json!({"enabled": phone, "maxTouchPoints": 1});
        self.call("Emulation.setTouchEmulationEnabled", touch);
        self.settle();
    }

    /// Light or dark, screen or print.
    pub fn media(&mut self, scheme: &str, medium: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        let params = json!({"media": medium, "features": features});
        self.call("Emulation.setEmulatedMedia", params);
        self.settle();
    }

    /// Waits until two frames have been drawn.
    pub fn settle(&mut self) {
        self.evaluate(
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => \
             done(true))))",
        );
    }

    /// Centre of the first element that fits a selector, scrolled into view, in CSS pixels of the
    /// window.
    pub fn centre(&mut self, selector: &str) -> (f64, f64) {
        let quoted = json!(selector);
        let at = self.evaluate(&format!(
            "(() => {{ const e = document.querySelector({quoted}); if (!e) return null; \
             e.scrollIntoView({{block: 'center', behavior: 'instant'}}); const b = \
             e.getBoundingClientRect(); \
             return [b.left + b.width / 2, b.top + b.height / 2]; }})()"
        ));
        assert!(!at.is_null(), "no element {selector}");
        (at[0].as_f64().unwrap(), at[1].as_f64().unwrap())
    }

    /// Presses the mouse on an element and lets it go (dx, dy) pixels away, in four moves.
    pub fn drag(&mut self, selector: &str, (dx, dy): (f64, f64)) {
        let (x, y) = self.centre(selector);
        self.mouse("mouseMoved", x, y, 0);
        self.mouse("mousePressed", x, y, 1);
        for step in 1..=4 {
            let part = f64::from(step) / 4.0;
            self.mouse("mouseMoved", x + dx * part, y + dy * part, 1);
        }
        self.mouse("mouseReleased", x + dx, y + dy, 0);
        self.settle();
    }

    fn mouse(&mut self, kind: &str, x: f64, y: f64, buttons: u8) {
        let button = if kind == "mouseMoved" && buttons == 0 {
            "none"
        } else {
            "left"
        };
        let params = json!({
            "type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1,
        });
        self.call("Input.dispatchMouseEvent", params);
    }

    /// Clicks an element.
    pub fn click(&mut self, selector: &str) {
        self.drag(selector, (0.0, 0.0));
    }

    /// Puts a finger on an element and moves it by (dx, dy) pixels.
    pub fn swipe(&mut self, selector: &str, (dx, dy): (f64, f64)) {
        let (x, y) = self.centre(selector);
        for part in [0.0, 0.25, 0.5, 0.75, 1.0] {
            let kind = if part == 0.0 {
                "touchStart"
            } else {
                "touchMove"
            };
            let points = json!([{"x": x + dx * part, "y": y + dy * part}]);
            let params = json!({"type": kind, "touchPoints": points});
            self.call("Input.dispatchTouchEvent", params);
        }
        let end = json!({"type": "touchEnd", "touchPoints": []});
        self.call("Input.dispatchTouchEvent", end);
        self.settle();
    }

    /// Focuses an element and presses a key (by its DOM name: `ArrowRight`, `Tab`, `Home`, …).
    pub fn press(&mut self, selector: &str, key: &str) {
        let quoted = json!(selector);
        self.evaluate(&format!("document.querySelector({quoted}).focus()"));
        let code = match key {
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            "Home" => 36,
            "End" => 35,
            "Tab" => 9,
            "Enter" => 13,
            _ => 0,
        };
        for kind in ["keyDown", "keyUp"] {
            let params =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            self.call("Input.dispatchKeyEvent", params);
        }
        self.settle();
    }

    /// Errors and warnings of the console, uncaught exceptions and failed loads since the page was
    /// opened.
    pub fn errors(&mut self) -> Vec<String> {
        self.collect();
        self.errors.clone()
    }

    /// Every address that the page asked for, itself and `data:` left out.
    pub fn requests(&mut self) -> Vec<String> {
        self.collect();
        self.requests.clone()
    }

    /// Takes in every event up to a mark that the page itself writes on its console: what the page
    /// did before has then been told, however long the browser took to tell it.
    fn collect(&mut self) {
        self.settle();
        self.marks += 1;
        let mark = format!("mark {}", self.marks);
        self.evaluate(&format!("console.debug({})", json!(mark)));
        loop {
            let event = self.pipe.event();
            let params = &event["params"];
            match event["method"].as_str() {
                Some("Runtime.exceptionThrown") => {
                    self.errors.push(params["exceptionDetails"].to_string());
                }
                Some("Runtime.consoleAPICalled") if params["args"][0]["value"] == mark => return,
                Some("Runtime.consoleAPICalled")
                    if matches!(
                        params["type"].as_str(),
                        Some("error" | "warning" | "assert")
                    ) =>
                {
                    self.errors.push(params["args"].to_string());
                }
                Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                    self.errors.push(params["entry"].to_string());
                }
                Some("Network.requestWillBeSent") => {
                    let url = params["request"]["url"].as_str().unwrap_or_default();
                    let own = params["type"] == "Document" && url.starts_with("file:");
                    if !own && !url.starts_with("data:") {
                        self.requests.push(url.to_owned());
                    }
                }
                _ => {}
            }
        }
    }

    /// The page as seen, as PNG bytes in base64; `whole` also below the fold.
    pub fn screenshot(&mut self, whole: bool) -> String {
        let params = json!({"format": "png", "captureBeyondViewport": whole});
        let answer = self.call("Page.captureScreenshot", params);
        answer["data"].as_str().unwrap().to_owned()
    }

    /// The headings of the printed page: text, the object that is its sheet, and points above the
    /// sheet's lower edge.
    pub fn printed_headings(&mut self) -> Vec<(String, String, f64)> {
        let params = json!({"generateDocumentOutline": true, "generateTaggedPDF": true,
            "preferCSSPageSize": true});
        let answer = self.call("Page.printToPDF", params);
        let pdf = STANDARD.decode(answer["data"].as_str().unwrap()).unwrap();
        // streams are compressed, the outline is not
        let pdf = String::from_utf8_lossy(&pdf);
        let heading = |entry: &str| {
            let (title, rest) = entry.split_once(")\n/Dest [")?;
            let (sheet, at) = rest.split_once(" 0 R /XYZ ")?;
            let height = at.split(' ').nth(1)?.parse().ok()?;
            Some((title.to_owned(), sheet.to_owned(), height))
        };
        let entries = pdf.split("/Title (").skip(1);
        let found = entries.filter_map(heading);
        found.filter(|(title, ..)| !title.contains('\n')).collect()
    }

    /// What axe-core finds against WCAG 2.2 A and AA and its best practices, one line a violation;
    /// `None`, and "not run" on standard error, without the variable `AXE_CORE`.
    pub fn axe(&mut self) -> Option<Vec<String>> {
        let Some(file) = std::env::var_os("AXE_CORE") else {
            eprintln!("not run: accessibility (set AXE_CORE to the file axe.min.js of axe-core)");
            return None;
        };
        let script = std::fs::read_to_string(&file)
            .unwrap_or_else(|e| panic!("{}: {e}", Path::new(&file).display()));
        self.evaluate(&format!("{script};0"));
        let found = self.evaluate(
            "axe.run(document, {resultTypes: ['violations']}).then(result => \
             result.violations.flatMap(v => v.nodes.map(n => `${v.id}: ${n.html.slice(0, 160)} \
             (${n.failureSummary})`)))",
        );
        let lines = found.as_array().unwrap().iter();
        Some(lines.map(|l| l.as_str().unwrap().to_owned()).collect())
    }

    /// The page, all of it unfolded, has no violation in these schemes and media, at a desk's and
    /// at a phone's width; "not run" as [`Self::axe`] says it.
    pub fn passes_axe(&mut self, looks: &[(&str, &str)]) {
        for (scheme, medium) in looks {
            self.media(scheme, medium);
            for width in [1280, 390] {
                self.viewport(width, 900);
                let unfold =
                    "document.querySelectorAll('details').forEach(d => { d.open = true; })";
                self.evaluate(unfold);
                let Some(violations) = self.axe() else { return };
                assert_eq!(violations, [""; 0], "{scheme}, {medium}, {width} pixels");
            }
        }
    }
}
