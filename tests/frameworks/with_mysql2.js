// An application with mysql2 and its own pool: it connects, handles what could be requests with prepared statements, and uses
// a transaction. Its phases: see checks.py.

const assert = require('assert');
const mysql = require('mysql2/promise');
const { phase, host, port, user, password, database } = require('./checks');

async function main() {
    const pool = mysql.createPool({ host, port, user, password, database, connectionLimit: 2, timezone: 'Z' });
    await pool.query('SELECT 1');
    await phase('connected');
    await pool.query('DROP TABLE IF EXISTS mysql2_item');
    await pool.query('CREATE TABLE mysql2_item (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20) UNIQUE, price INT)');
    await phase('migrated');
    for (let number = 0; number < 5; number++) {
        const sql = 'INSERT INTO mysql2_item (name, price) VALUES (?, ?)';
        const [created] = await pool.execute(sql, [`item ${number}`, number]);
        assert.strictEqual(created.insertId, number + 1);
        await phase(`created ${number}`);
    }
    const [rows] = await pool.execute('SELECT name FROM mysql2_item WHERE price > ? ORDER BY id', [2]);
    assert.deepStrictEqual(rows.map((row) => row.name), ['item 3', 'item 4']);
    await phase('requests');
    const connection = await pool.getConnection();
    await connection.beginTransaction();
    await connection.execute('SELECT * FROM mysql2_item WHERE name = ? FOR UPDATE', ['item 3']);
    await connection.execute('UPDATE mysql2_item SET price = ? WHERE name = ?', [30, 'item 3']);
    await phase('transaction');
    await connection.commit();
    connection.release();
    await phase('committed');
    const [[item]] = await pool.execute('SELECT price FROM mysql2_item WHERE name = ?', ['item 3']);
    assert.strictEqual(item.price, 30);
    await phase('read');
    await pool.end();
    process.exit(0);
}

main();
