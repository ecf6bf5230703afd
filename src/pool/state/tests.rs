//! What follows from what: without a server.

use super::*;

/// A few variables of a server.
fn snapshot() -> Snapshot {
    let rows: [(&str, &str); 8] = [
        ("version", "11.8.9-MariaDB"),
        ("autocommit", "ON"),
        ("character_set_client", "utf8mb4"),
        ("character_set_results", "utf8mb4"),
        ("collation_connection", "utf8mb4_general_ci"),
        ("sql_mode", "STRICT_TRANS_TABLES"),
        ("tx_isolation", "REPEATABLE-READ"),
        ("wait_timeout", "28800"),
    ];
    Snapshot::new(rows.map(|(name, value)| (name.as_bytes(), Some(value.as_bytes()))))
}

fn sent(from: &Settings, to: &Settings) -> Result<Vec<String>, Obstacle> {
    let side = |settings| Side {
        settings,
        last_insert_id: Some(0),
    };
    let steps = differs(side(from), side(to), &snapshot())?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ok(steps
        .into_iter()
        .map(|step| match step {
            Step::Query(sql) => text(sql),
            Step::InitDb(name) => format!("InitDb {}", text(name)),
        })
        .collect())
}

#[test]
fn a_login() {
    let fresh = Settings::default();
    let client = Settings::at_login(Some(b"shop"), "latin1", "latin1_bin");
    assert_eq!(
        sent(&fresh, &client).unwrap(),
        [
            "SET @@session.character_set_client='latin1',@@session.character_set_results='latin1',\
             @@session.collation_connection='latin1_bin'",
            "InitDb shop"
        ]
    );
    assert_eq!(sent(&client, &fresh), Err(Obstacle::Schema));
    assert_eq!(sent(&client, &client).unwrap(), [""; 0]);
}
