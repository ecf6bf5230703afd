//! Servers of HTTP that do exactly what a test says, and a real one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use super::PATIENCE;
use super::process::{self, Process};

/// A request, as it came.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The request's first line.
    pub line: String,
    /// The other lines of the head.
    pub headers: Vec<String>,
    /// The body.
    pub body: Vec<u8>,
    /// The number of the connection that it came on, from 1.
    pub connection: usize,
}

impl Asked {
    /// The value of a header, whose name is in small letters; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find_map(|line| {
            let (its, value) = line.split_once(':')?;
            its.eq_ignore_ascii_case(name).then(|| value.trim())
        });
        found.unwrap_or_default()
    }
}

/// A server that answers each request with the bytes that a function makes of it; `None` closes the connection.
pub struct Web {
    /// Its port.
    pub port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Web {
    /// Serves until the test program ends.
    pub fn serve(answer: impl Fn(&Asked) -> Option<Vec<u8>> + Send + Sync + 'static) -> Web {
        Web::serve_raw(move |socket, asked| match answer(asked) {
            Some(bytes) => socket.write_all(&bytes).is_ok(),
            None => false,
        })
    }

    /// The same with the socket, for what is no answer. False closes the connection.
    pub fn serve_raw(
        answer: impl Fn(&mut TcpStream, &Asked) -> bool + Send + Sync + 'static,
    ) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (noted, answer) = (asked.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for (number, socket) in listener.incoming().enumerate() {
                let (noted, answer) = (noted.clone(), answer.clone());
                std::thread::spawn(move || {
                    let mut socket = socket.unwrap();
                    let mut reader = BufReader::new(socket.try_clone().unwrap());
                    while let Some(request) = read(&mut reader, number + 1) {
                        noted.lock().unwrap().push(request.clone());
                        if !answer(&mut socket, &request) {
                            break;
                        }
                    }
                });
            }
        });
        Web { port, asked }
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn read(reader: &mut BufReader<TcpStream>, connection: usize) -> Option<Asked> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut asked = Asked {
        line: lines.remove(0),
        headers: lines,
        connection,
        ..Asked::default()
    };
    let length = asked.header("content-length").parse().unwrap_or_default();
    asked.body = vec![0; length];
    reader.read_exact(&mut asked.body).ok()?;
    Some(asked)
}

/// An answer of status 200 with this body.
pub fn fine(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A program in Python that serves, and prints its port as its first line.
pub struct PythonWeb {
    /// Its port.
    pub port: u16,
    _process: Process,
}

impl PythonWeb {
    /// Runs a script with these arguments.
    pub fn start(script: &str, args: &[&str]) -> PythonWeb {
        let mut command = process::command("/usr/bin/python3");
        command.args(["-u", "-c", script]).args(args);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = process::spawn(command);
        let mut line = String::new();
        let stdout = process.stdout.take().unwrap();
        let begun = std::time::Instant::now();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert!(begun.elapsed() < PATIENCE);
        let port = line.trim().parse().expect("a port");
        PythonWeb {
            port,
            _process: process,
        }
    }
}
