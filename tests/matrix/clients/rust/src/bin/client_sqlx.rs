//! sqlx.

use matrix_clients::{big, bytes, serve, table, unhex};
use serde_json::{Value, json};
use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlRow, MySqlSslMode};
use sqlx::{
    Arguments, Column, ConnectOptions, Connection, Either, Executor, MySqlConnection, Row,
    TypeInfo, ValueRef,
};

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    serve("Rust sqlx 0.8", |job| {
        if job["compression"] != "none" {
            return json!({ "error": "unsupported" });
        }
        runtime.block_on(async {
            match options(job).connect().await {
                Err(error) => failure(&error),
                Ok(mut conn) => {
                    let mut said = Vec::new();
                    for step in job["steps"].as_array().expect("steps") {
                        said.push(run(&mut conn, step).await);
                    }
                    let _ = conn.close().await;
                    json!({ "steps": said })
                }
            }
        })
    });
}

fn options(job: &Value) -> MySqlConnectOptions {
    let text = |name: &str| job[name].as_str().unwrap_or_default();
    let (mode, ca) = match text("tls") {
        "off" => (MySqlSslMode::Disabled, None),
        "required" => (MySqlSslMode::Required, None),
        _ => (MySqlSslMode::VerifyCa, Some(text("ca"))),
    };
    let options = MySqlConnectOptions::new()
        .host(text("host"))
        .port(job["port"].as_u64().unwrap_or(0) as u16)
        .username(text("user"))
        .password(text("password"))
        .database(text("database"))
        .statement_cache_capacity(0)
        .ssl_mode(mode);
    match ca {
        Some(ca) => options.ssl_ca(ca),
        None => options,
    }
}

fn failure(error: &sqlx::Error) -> Value {
    match error {
        sqlx::Error::Database(e) => json!({ "error": [e.code(), e.message()] }),
        other => json!({ "error": other.to_string() }),
    }
}

fn row(row: &MySqlRow) -> Value {
    let cells = (0..row.len()).map(|i| {
        let Ok(raw) = row.try_get_raw(i) else {
            return json!("unreadable");
        };
        if raw.is_null() {
            return Value::Null;
        }
        // The raw bytes, whatever the type: decoding does not depend on the way.
        row.try_get_unchecked::<Vec<u8>, _>(i)
            .map_or_else(|e| json!(e.to_string()), |data| bytes(&data))
    });
    json!(cells.collect::<Vec<_>>())
}

async fn fetch<'q, E>(conn: &mut MySqlConnection, query: E) -> Value
where
    E: sqlx::Execute<'q, sqlx::MySql> + 'q,
{
    use futures_core::Stream;
    let mut stream = conn.fetch_many(query);
    let (mut said, mut rows, mut columns) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        match std::future::poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
            None => break,
            Some(Err(error)) => {
                said.push(failure(&error));
                break;
            }
            Some(Ok(Either::Left(done))) => {
                said.push(table(
                    std::mem::take(&mut columns),
                    std::mem::take(&mut rows),
                ));
                said.push(json!({ "affected": done.rows_affected(), "id": done.last_insert_id() }));
            }
            Some(Ok(Either::Right(one))) => {
                if columns.is_empty() {
                    columns = one
                        .columns()
                        .iter()
                        .map(|c| json!([c.name(), c.type_info().name()]))
                        .collect();
                }
                rows.push(row(&one));
            }
        }
    }
    json!(said)
}

fn bind(arguments: &mut MySqlArguments, p: &Value) {
    let text = |name: &str| p[name].as_str().unwrap_or_default().to_owned();
    let done = match p {
        Value::Null => arguments.add(None::<i64>),
        Value::Number(n) => match n.as_i64() {
            Some(n) => arguments.add(n),
            None => arguments.add(n.as_f64()),
        },
        Value::String(s) => arguments.add(s.clone()),
        Value::Object(o) if o.contains_key("int") => {
            arguments.add(text("int").parse::<i64>().unwrap_or(0))
        }
        Value::Object(o) if o.contains_key("hex") => arguments.add(unhex(&text("hex"))),
        Value::Object(o) if o.contains_key("repeat") => {
            arguments.add(text("repeat").repeat(p["times"].as_u64().unwrap_or(0) as usize))
        }
        Value::Object(o) if o.contains_key("decimal") => arguments.add(text("decimal")),
        _ => arguments.add(text("datetime")),
    };
    done.expect("a parameter");
}

async fn run(conn: &mut MySqlConnection, step: &Value) -> Value {
    let sql = step["sql"].as_str().unwrap_or_default().to_owned();
    match step["op"].as_str().unwrap_or_default() {
        "query" => fetch(conn, sqlx::raw_sql(&sql)).await,
        "big" => fetch(conn, sqlx::raw_sql(&big(step))).await,
        "prepare" => {
            let mut arguments = MySqlArguments::default();
            for p in step["params"].as_array().into_iter().flatten() {
                bind(&mut arguments, p);
            }
            fetch(conn, sqlx::query_with(&sql, arguments)).await
        }
        "ping" => conn
            .ping()
            .await
            .map_or_else(|e| failure(&e), |()| Value::Null),
        _ => json!("unsupported"),
    }
}
