//! An application with sqlx and its own pool: it connects, handles what could be requests with prepared
//! statements, and uses a transaction. Its phases: see tests/frameworks/checks.py.

use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};

fn phase(name: &str) {
    println!("{name}");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("a line");
}

async fn run() -> sqlx::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let options = MySqlConnectOptions::new()
        .host(&args[1])
        .port(args[2].parse().expect("a port"))
        .username(&args[3])
        .password(&args[4])
        .database(&args[5])
        .ssl_mode(sqlx::mysql::MySqlSslMode::Disabled);
    let pool = MySqlPoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await?;
    sqlx::query("SELECT 1").execute(&pool).await?;
    phase("connected");
    sqlx::query("DROP TABLE IF EXISTS sqlx_item").execute(&pool).await?;
    let table = "CREATE TABLE sqlx_item (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20) UNIQUE, price INT)";
    sqlx::query(table).execute(&pool).await?;
    phase("migrated");
    for number in 0..5 {
        let created = sqlx::query("INSERT INTO sqlx_item (name, price) VALUES (?, ?)")
            .bind(format!("item {number}"))
            .bind(number)
            .execute(&pool)
            .await?;
        assert_eq!(created.last_insert_id(), number + 1);
        phase(&format!("created {number}"));
    }
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sqlx_item WHERE price > ?")
        .bind(2)
        .fetch_one(&pool)
        .await?;
    assert_eq!(count, 2);
    phase("requests");
    let mut transaction = pool.begin().await?;
    let price: i32 = sqlx::query_scalar("SELECT price FROM sqlx_item WHERE name = ? FOR UPDATE")
        .bind("item 3")
        .fetch_one(&mut *transaction)
        .await?;
    sqlx::query("UPDATE sqlx_item SET price = ? WHERE name = ?")
        .bind(price * 10)
        .bind("item 3")
        .execute(&mut *transaction)
        .await?;
    phase("transaction");
    transaction.commit().await?;
    phase("committed");
    let price: i32 = sqlx::query_scalar("SELECT price FROM sqlx_item WHERE name = 'item 3'")
        .fetch_one(&pool)
        .await?;
    assert_eq!(price, 30);
    phase("read");
    Ok(())
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(run()).expect("no error");
}
