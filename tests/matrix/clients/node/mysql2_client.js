'use strict';
const fs = require('fs');
const mysql = require('mysql2/promise');
const jobs = require('./jobs.js');

function tls(job) {
  if (job.tls === 'off') return undefined;
  if (job.tls === 'required') return { rejectUnauthorized: false };
  return { ca: fs.readFileSync(job.ca), verifyIdentity: false };
}

const columns = (fields) => fields.map((f) => [f.name, f.columnType, f.columnLength, f.flags, f.decimals, f.characterSet, f.table]);

function results([rows, fields]) {
  if (fields === undefined) {
    return [{ affected: rows.affectedRows, id: rows.insertId, info: rows.info, status: rows.warningStatus }];
  }
  // Several results: a list of lists, and undefined for those without columns.
  if (rows.length === fields.length && fields.length > 0 && (fields[0] === undefined || Array.isArray(fields[0]))) {
    return rows.flatMap((r, i) => results([r, fields[i]]));
  }
  return [jobs.table(columns(fields), rows)];
}

jobs.main({
  name: `node mysql2 ${require('mysql2/package.json').version}`,
  async connect(job) {
    if (job.compression === 'zstd') throw new jobs.Unsupported();
    const conn = await mysql.createConnection({
      host: job.host, port: job.port, socketPath: job.socket || undefined,
      user: job.user, password: job.password, database: job.database, ssl: tls(job),
      compress: job.compression === 'zlib', multipleStatements: true, rowsAsArray: true,
      supportBigNumbers: true, bigNumberStrings: true, dateStrings: true, connectTimeout: 20000,
      infileStreamFactory: (path) => fs.createReadStream(path),
    });
    // The step during which a connection ends reports that.
    conn.connection.on('error', () => {});
    return conn;
  },
  async query(conn, step) { return results(await conn.query(step.sql)); },
  async prepare(conn, step) {
    const said = results(await conn.execute(step.sql, step.params.map(jobs.parameter).map((p) => (typeof p === 'bigint' ? String(p) : p))));
    conn.unprepare(step.sql);
    return said;
  },
  async ping(conn) { await conn.ping(); },
  async reset(conn) { if (!conn.reset) return 'unsupported'; await conn.reset(); },
  async change_user(conn, step) {
    await conn.changeUser({ user: step.user, password: step.password, database: step.database });
  },
  async close(conn) { conn.destroy(); },
});
