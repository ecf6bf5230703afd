//! The job protocol of the matrix: see ../../python/jobs.py.

use std::io::BufRead;

use serde_json::{Value, json};

/// Bytes, short enough for a transcript.
pub fn bytes(bytes: &[u8]) -> Value {
    if bytes.len() > 300 {
        return json!(format!("#{}:{}", bytes.len(), crc32fast::hash(bytes)));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(format!("s:{text}")),
        Err(_) => json!(format!("x:{bytes:02x?}")),
    }
}

/// A result, with long lists shortened.
pub fn table(columns: Vec<Value>, rows: Vec<Value>) -> Value {
    let digest = |all: &Vec<Value>| json!(crc32fast::hash(json!(all).to_string().as_bytes()));
    let columns_shown = if columns.len() > 50 {
        digest(&columns)
    } else {
        json!(columns)
    };
    let long = rows.len() > 3 && rows.len() * columns.len() > 2000;
    let rows_shown = if long { digest(&rows) } else { json!(rows) };
    json!({ "columns": columns_shown, "rows": rows_shown })
}

/// The text of a long query.
pub fn big(step: &Value) -> String {
    format!(
        "SELECT LENGTH('{}')",
        "y".repeat(step["n"].as_u64().unwrap_or(0) as usize)
    )
}

/// The bytes of a parameter given as hexadecimal digits.
pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap_or(0))
        .collect()
}

/// Does the jobs on standard input.
pub fn serve(name: &str, mut job: impl FnMut(&Value) -> Value) {
    println!("{}", json!({ "client": name }));
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let parsed: Value = serde_json::from_str(&line).expect("a job");
        println!("{}", job(&parsed));
    }
}
