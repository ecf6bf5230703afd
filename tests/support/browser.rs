//! A real browser, driven by its debugging protocol.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use super::http::Http;
use super::{PATIENCE, process};

/// The browser itself: what is in the path is a shell, without whose end it would live on.
const PROGRAM: &str = "/usr/lib/chromium/chromium-headless-shell";

/// A browser with one page.
pub struct Browser {
    socket: WebSocket<TcpStream>,
    last: u64,
    /// What the page has complained of: errors, and what its policy has blocked.
    pub complaints: Vec<String>,
    _process: process::Process,
}

impl Browser {
    /// Starts it.
    #[track_caller]
    pub fn start() -> Browser {
        let folder = process::folder("browser");
        let mut command = process::command(PROGRAM);
        command
            .args([
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
            ])
            .arg("--remote-debugging-port=0")
            .arg(format!("--user-data-dir={}", folder.display()))
            .arg("about:blank")
            .env("HOME", &folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = process::spawn(command);
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let (send, receive) = std::sync::mpsc::channel();
        // It is read to its end, or the browser would wait for its reader.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("DevTools listening on ws://127.0.0.1:") {
                    let _ = send.send(rest.split('/').next().unwrap().parse().unwrap());
                }
            }
        });
        let port: u16 = receive.recv_timeout(PATIENCE).expect("the browser's port");
        let list = Http::connect(port).get("/json/list").body;
        let list: Value = serde_json::from_str(&list).expect("a list of pages");
        let address = list[0]["webSocketDebuggerUrl"].as_str().expect("a page");
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = tungstenite::client(address, stream).expect("a connection with the page");
        let mut browser = Browser {
            socket,
            last: 0,
            complaints: Vec::new(),
            _process: process,
        };
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Opens a page.
    #[track_caller]
    pub fn open(&mut self, address: &str) {
        let result = self.call("Page.navigate", json!({ "url": address }));
        assert!(result.get("errorText").is_none(), "{result}");
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> Value {
        let result = self.call(
            "Runtime.evaluate",
            json!({ "expression": expression, "returnByValue": true }),
        );
        assert!(
            result.get("exceptionDetails").is_none(),
            "{expression}: {result}"
        );
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true. That what it is about is not there yet is no error.
    #[track_caller]
    pub fn until(&mut self, expression: &str) {
        let careful =
            format!("(() => {{ try {{ return {expression} }} catch {{ return false }} }})()");
        super::eventually(expression, || self.value(&careful) == true);
    }

    /// How large the page is, and whether it is dark around it.
    #[track_caller]
    pub fn appear(&mut self, width: u32, height: u32, scheme: &str) {
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 }),
        );
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        );
    }

    /// A picture of the page.
    #[track_caller]
    pub fn picture(&mut self, file: &Path) {
        use base64::Engine as _;
        let result = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let data = result["data"].as_str().expect("a picture");
        let data = base64::engine::general_purpose::STANDARD
            .decode(data)
            .unwrap();
        std::fs::write(file, data).unwrap();
    }

    #[track_caller]
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let call = json!({ "id": self.last, "method": method, "params": params });
        self.socket.send(Message::text(call.to_string())).unwrap();
        loop {
            let message = self.socket.read().expect("an answer of the browser");
            let Message::Text(text) = message else {
                continue;
            };
            let mut message: Value = serde_json::from_str(&text).unwrap();
            if message["id"] == self.last {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].take();
            }
            let is_complaint = match message["method"].as_str() {
                Some("Log.entryAdded") => message["params"]["entry"]["level"] == "error",
                Some("Runtime.exceptionThrown") => true,
                _ => false,
            };
            if is_complaint {
                self.complaints.push(message["params"].to_string());
            }
        }
    }
}
