'use strict';
const fs = require('fs');
const mariadb = require('mariadb');
const jobs = require('./jobs.js');

function tls(job) {
  if (job.tls === 'off') return false;
  if (job.tls === 'required') return { rejectUnauthorized: false };
  return { ca: fs.readFileSync(job.ca), checkServerIdentity: () => undefined };
}

const columns = (meta) => meta.map((m) => [m.name(), m.type, m.columnLength, m.flags, m.scale, m.table()]);

function results(said) {
  if (Array.isArray(said) && said.length === 2 && Array.isArray(said[1]) && said[1][0]?.name) {
    return [jobs.table(columns(said[1]), said[0])];
  }
  if (Array.isArray(said) && said.meta) return [jobs.table(columns(said.meta), said)];
  if (Array.isArray(said)) return said.flatMap(results);
  return [{ affected: said.affectedRows, id: jobs.value(said.insertId), warnings: said.warningStatus }];
}

jobs.main({
  name: `node mariadb ${mariadb.version}`,
  async connect(job) {
    if (job.compression === 'zstd') throw new jobs.Unsupported();
    const conn = await mariadb.createConnection({
      host: job.host, port: job.port, socketPath: job.socket || undefined,
      user: job.user, password: job.password, database: job.database, ssl: tls(job),
      compress: job.compression === 'zlib', multipleStatements: true, rowsAsArray: true,
      insertIdAsNumber: false, dateStrings: true, connectTimeout: 20000, permitLocalInfile: true,
      allowPublicKeyRetrieval: true, metaAsArray: false, maxAllowedPacket: 1 << 30,
    });
    conn.on('error', () => {});
    return conn;
  },
  async query(conn, step) { return results(await conn.query(step.sql)); },
  async prepare(conn, step) {
    const statement = await conn.prepare(step.sql);
    try {
      return results(await statement.execute(step.params.map(jobs.parameter)));
    } finally {
      statement.close();
    }
  },
  async bulk(conn, step) {
    return results(await conn.batch(step.sql, step.rows.map((row) => row.map(jobs.parameter))));
  },
  async ping(conn) { await conn.ping(); },
  async reset(conn) { await conn.reset(); },
  async change_user(conn, step) {
    await conn.changeUser({ user: step.user, password: step.password, database: step.database });
  },
  async close(conn) { conn.destroy(); },
});
