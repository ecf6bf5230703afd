// The same for applications in JavaScript as checks.py for those in Python.

const lines = require('readline').createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const [host, port, user, password, database] = process.argv.slice(2);

async function phase(name) {
    console.log(name);
    await lines.next();
}

process.on('unhandledRejection', (error) => {
    console.error(error);
    process.exit(1);
});
module.exports = { phase, host, port: Number(port), user, password, database };
