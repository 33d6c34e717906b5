//! A browser, by the WebDriver protocol (https://www.w3.org/TR/webdriver2): Debian's Chromium and its driver.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use base64::prelude::{BASE64_STANDARD, Engine};
use reqwest::{Client, Method, header};
use serde_json::{Value, json};

/// The name of elements in answers, as the protocol has it.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// A quiet browser: it asks nobody for anything by itself.
const QUIET: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
];

/// A driver, and one window.
pub struct Browser {
    driver: Child,
    client: Client,
    session: String,
    profile: PathBuf,
}

impl Browser {
    /// An empty browser for which this host name is that address. No certificate is checked: it is not what is tested.
    pub async fn open(host: &str, address: &str) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // With all that it starts, so that all of it can be ended.
            .process_group(0)
            .spawn()
            .expect("chromedriver was not found: install the packages chromium and chromium-driver");
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut ports = lines.filter_map(|line| line.strip_suffix('.')?.rsplit_once("on port ")?.1.parse::<u16>().ok());
        let port = ports.next().expect("chromedriver listens");
        let profile = std::env::temp_dir().join(format!("pleo-browser-{}-{port}", std::process::id()));
        let client = Client::builder().no_proxy().build().unwrap();
        let mut browser = Self { driver, client, session: format!("http://127.0.0.1:{port}"), profile };
        let mut flags: Vec<String> = QUIET.iter().map(|flag| (*flag).to_owned()).collect();
        flags.push(format!("--user-data-dir={}", browser.profile.display()));
        flags.push(format!("--host-resolver-rules=MAP {host} {address}"));
        let wanted = json!({
            "acceptInsecureCerts": true,
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": flags},
        });
        let session = browser.post("/session", json!({"capabilities": {"alwaysMatch": wanted}})).await;
        browser.session += &format!("/session/{}", session["sessionId"].as_str().unwrap());
        browser
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let mut request = self.client.request(method, format!("{}{path}", self.session));
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap().text().await.unwrap();
        let value = serde_json::from_str::<Value>(&answer).unwrap()["value"].take();
        assert!(value["error"].is_null(), "{path}: {value}");
        value
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn get(&self, path: &str) -> Value {
        self.call(Method::GET, path, None).await
    }

    /// Goes to an address, as if it was typed in.
    pub async fn go_to(&self, url: &str) {
        self.post("/url", json!({"url": url})).await;
    }

    /// Where it is.
    pub async fn address(&self) -> String {
        self.get("/url").await.as_str().unwrap().to_owned()
    }

    /// Clicks on the one element that this selects.
    pub async fn click(&self, selector: &str) {
        let found = self.post("/elements", json!({"using": "css selector", "value": selector})).await;
        let [element] = found.as_array().unwrap().as_slice() else { panic!("{selector}: {found}") };
        self.post(&format!("/element/{}/click", element[ELEMENT].as_str().unwrap()), json!({})).await;
    }

    /// What a script says about the page. The page's own policy does not hold for the driver.
    pub async fn ask(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({"script": format!("return {script}"), "args": []})).await
    }

    /// Waits until the heading is this.
    pub async fn until_heading(&self, expected: &str) {
        let mut seen = Value::Null;
        for _ in 0..300 {
            seen = self.ask("document.querySelector('h1')?.textContent ?? null").await;
            if seen == expected {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("the heading is {seen} and not {expected}, at {}", self.address().await);
    }

    /// The cookies of the page.
    pub async fn cookies(&self) -> Vec<Value> {
        self.get("/cookie").await.as_array().unwrap().clone()
    }

    /// What the browser complained about since the last call.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", json!({"type": "browser"})).await;
        log.as_array().unwrap().iter().map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    /// The window is closed, and Chromium ends.
    pub async fn close(self) {
        self.call(Method::DELETE, "", None).await;
    }

    /// A window of this width, in a theme; and a picture of what it shows.
    pub async fn picture(&self, width: u32, theme: &str, file: &Path) {
        let screen = json!({"width": width, "height": 640, "deviceScaleFactor": 2, "mobile": width < 500});
        self.post("/goog/cdp/execute", json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": screen})).await;
        let theme = json!({"features": [{"name": "prefers-color-scheme", "value": theme}]});
        self.post("/goog/cdp/execute", json!({"cmd": "Emulation.setEmulatedMedia", "params": theme})).await;
        let picture = self.get("/screenshot").await;
        fs::write(file, BASE64_STANDARD.decode(picture.as_str().unwrap()).unwrap()).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Also where a test fails: the driver's end alone does not end Chromium.
        let _ = Command::new("kill").args(["--", &format!("-{}", self.driver.id())]).status();
        let _ = self.driver.wait();
        let _ = fs::remove_dir_all(&self.profile);
    }
}
