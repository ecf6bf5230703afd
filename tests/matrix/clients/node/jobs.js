'use strict';
// What the Node clients of the matrix share: the job protocol. See ../python/jobs.py.
const readline = require('readline');
const crypto = require('crypto');

const LONG = 300;
const digest = (data) => crypto.createHash('md5').update(data).digest('hex');

class Unsupported extends Error {}

function value(v) {
  if (v === null || v === undefined || typeof v === 'number' || typeof v === 'boolean') {
    return v === undefined ? null : v;
  }
  if (typeof v === 'bigint') return `n:${v}`;
  if (Buffer.isBuffer(v)) return v.length <= LONG ? `x:${v.toString('hex')}` : `x#${v.length}:${digest(v)}`;
  if (v instanceof Date) return `date:${isNaN(v) ? 'invalid' : v.toISOString()}`;
  if (typeof v === 'string') return v.length <= LONG ? `s:${v}` : `s#${v.length}:${digest(v)}`;
  return `json:${JSON.stringify(v)}`;
}

function table(fields, rows) {
  let columns = fields.map((f) => f.map(value));
  if (columns.length > 50) columns = [`${columns.length} columns`, digest(JSON.stringify(columns))];
  let shown = rows.map((row) => row.map(value));
  if (shown.length > 3 && shown.length * shown[0].length > 2000) {
    shown = [`${shown.length} rows`, digest(JSON.stringify(shown))];
  }
  return { columns, rows: shown };
}

function parameter(p) {
  if (p === null || typeof p !== 'object') return p;
  if ('hex' in p) return Buffer.from(p.hex, 'hex');
  if ('int' in p) return BigInt(p.int);
  if ('decimal' in p) return p.decimal;
  if ('datetime' in p) return new Date(p.datetime + 'Z');
  return p.repeat.repeat(p.times);
}

function error(e) {
  return { error: [e.code || e.name, e.errno ?? null, e.sqlState ?? null, e.sqlMessage || String(e.message).split('\n')[0]] };
}

async function main(driver) {
  console.log(JSON.stringify({ client: driver.name }));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const job = JSON.parse(line);
    const answer = {};
    let conn;
    try {
      conn = await driver.connect(job);
      answer.steps = [];
    } catch (e) {
      Object.assign(answer, e instanceof Unsupported ? { error: 'unsupported' } : error(e));
    }
    for (const step of conn ? job.steps : []) {
      let said;
      try {
        if (step.op === 'big') {
          said = await driver.query(conn, { sql: `SELECT LENGTH('${'y'.repeat(step.n)}')` });
        } else if (driver[step.op]) {
          said = (await driver[step.op](conn, step)) ?? null;
        } else {
          said = 'unsupported';
        }
      } catch (e) {
        said = error(e);
      }
      answer.steps.push(said);
    }
    if (conn) await driver.close(conn);
    console.log(JSON.stringify(answer));
  }
  process.exit(0);
}

// A driver may emit an error that no code handles.
process.on('uncaughtException', (e) => console.error('uncaught', e));

module.exports = { main, table, value, parameter, error, Unsupported };
