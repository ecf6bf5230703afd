"""Measures the multiplexer and a pool of threads, in turn, on the same servers. See benches/multiplexer.sh."""

import argparse
import concurrent.futures
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import pymysql

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TICK = os.sysconf("SC_CLK_TCK")
MOCKS, REAL = 100, 8
SQL = "SHOW GLOBAL STATUS"
children = []


def start(command, **more):
    """Starts a program that ends with us."""
    child = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *command], stdin=subprocess.DEVNULL, **more)
    children.append(child)
    return child


def free_port():
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def start_server(mysql, number):
    """Starts a private server, and returns its port."""
    folder = tempfile.mkdtemp(prefix=f"server{number}-")
    data, port = os.path.join(folder, "data"), free_port()
    common = ["--no-defaults", "--user=root", f"--datadir={data}"]
    if mysql:
        usr = os.path.join(mysql, "usr")
        program = [os.path.join(mysql, "dpm-bin/mysqld"), "--no-defaults", f"--basedir={usr}",
                   f"--lc-messages-dir={usr}/share/mysql", f"--character-sets-dir={usr}/share/mysql/charsets",
                   *common[1:], "--mysqlx=OFF", "--secure-file-priv=NULL", "--innodb-redo-log-capacity=16M"]
        subprocess.run([*program, "--initialize-insecure"], check=True, capture_output=True)
        account = "CREATE USER bench@'%' IDENTIFIED WITH caching_sha2_password BY 'bench';\n"
    else:
        program = ["mariadbd", *common, "--innodb-log-file-size=16M", "--skip-name-resolve"]
        subprocess.run(["mariadb-install-db", *common, "--auth-root-authentication-method=normal", "--skip-test-db",
                        "--innodb-log-file-size=16M"], check=True, capture_output=True)
        account = "CREATE USER bench@'%' IDENTIFIED BY 'bench';\n"
    init = os.path.join(folder, "init.sql")
    with open(init, "w") as file:
        file.write(account + "DELETE FROM mysql.user WHERE user = '';\nFLUSH PRIVILEGES;\n" + "GRANT ALL ON *.* TO bench@'%';\n")
    log = open(os.path.join(folder, "log"), "w")
    start([*program, f"--port={port}", "--bind-address=127.0.0.1", f"--socket={folder}/s", f"--pid-file={folder}/pid",
           f"--init-file={init}"], stdout=log, stderr=log)
    deadline = time.time() + 60
    while True:
        try:
            connect(port).close()
            return port
        except pymysql.Error:
            if time.time() > deadline:
                sys.exit(f"a server did not start:\n{open(log.name).read()[-2000:]}")
            time.sleep(0.2)


def connect(port):
    return pymysql.connect(host="127.0.0.1", port=port, user="bench", password="bench", read_timeout=30)


def start_dpm(program, script, *arguments):
    """Starts dpm, and returns its process and the first line that it prints of itself."""
    child = start([program, "--startfile", script, "--", *map(str, arguments)], stdout=subprocess.PIPE, text=True,
                  env={**os.environ, "RUST_LOG": "warn"})
    return child, child.stdout.readline().strip()


def pid_of(child):
    """setpriv becomes the program, and keeps its process id."""
    return child.pid


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory_mib(pid, what):
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith(what + ":"):
                return int(line.split()[1]) / 1024


class Pool:
    """A thread and a connection for each server."""

    def __init__(self, ports):
        self.connections = [(str(port), connect(port)) for port in ports]
        self.executor = concurrent.futures.ThreadPoolExecutor(len(ports))

    def ask(self, label, connection):
        with connection.cursor() as cursor:
            cursor.execute(SQL)
            return [(label, *row) for row in cursor.fetchall()]

    def round(self):
        answers = self.executor.map(lambda pair: self.ask(*pair), self.connections)
        return sum(len(rows) for rows in answers)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--dpm", default=os.path.join(os.environ.get("CARGO_TARGET_DIR", ROOT + "/target"), "release/dpm"))
    options = parser.parse_args()

    mysql = os.environ.get("DPM_BENCH_MYSQL")
    print(f"starting {REAL} servers and {MOCKS} that are simulated …", flush=True)
    ports = [start_server(mysql if number % 2 else None, number) for number in range(REAL)]
    mocks, line = start_dpm(options.dpm, os.path.join(HERE, "mocks.lua"), MOCKS)
    ports += [int(port) for port in line.split()[1:]]
    assert len(ports) == REAL + MOCKS, line

    multiplexer, line = start_dpm(options.dpm, os.path.join(ROOT, "demos/multiplexer.lua"), "-", "-", 0, "bench", "bench",
                                  *(f"host=127.0.0.1,port={port},user=bench,pass=bench,name={port}" for port in ports))
    port = int(line.rpartition(":")[2])
    control = connect(port)
    with control.cursor() as cursor:
        while True:
            cursor.execute("SHOW DB STATUS")
            if all(row[1] == "1" for row in cursor.fetchall()):
                break
            time.sleep(0.1)
    pid = pid_of(multiplexer)
    before = memory_mib(pid, "VmRSS")

    client = ["mariadb", "--no-defaults", "--protocol=tcp", "-h127.0.0.1", f"-P{port}", "-ubench", "-pbench", "-N", "-B",
              "-e", f"POLL ALL 10 {SQL}; FETCH ALL {SQL}"]

    def multiplexed():
        return subprocess.run(client, check=True, stdout=subprocess.PIPE).stdout.count(b"\n")

    pool = Pool(ports)
    figures = {"multiplexer": [], "client": [], "pool": []}
    times = {"multiplexer": [], "pool": []}
    rows = pool_rows = 0
    for number in range(options.rounds + 2):
        cpu, children_before, begun = cpu_seconds(pid), resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        rows = multiplexed()
        took, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
        client_cpu = after.ru_utime + after.ru_stime - children_before.ru_utime - children_before.ru_stime
        proxy_cpu = cpu_seconds(pid) - cpu
        cpu, begun = time.process_time(), time.perf_counter()
        pool_rows = pool.round()
        pool_took, pool_cpu = time.perf_counter() - begun, time.process_time() - cpu
        if number >= 2:  # the first two warm up
            figures["multiplexer"].append(proxy_cpu)
            figures["client"].append(client_cpu)
            figures["pool"].append(pool_cpu)
            times["multiplexer"].append(took)
            times["pool"].append(pool_took)

    total = {name: sum(values) / options.rounds for name, values in figures.items()}
    print(f"{len(ports)} servers, {options.rounds} rounds; rows: {rows} multiplexed, {pool_rows} by the pool")
    print(f"multiplexer: {statistics.median(times['multiplexer']) * 1000:6.0f} ms a round, "
          f"proxy CPU {total['multiplexer'] * 1000:6.1f} ms, its client (mariadb) {total['client'] * 1000:6.1f} ms; "
          f"resident {before:.0f} MiB idle, {memory_mib(pid, 'VmHWM'):.0f} MiB at its peak")
    print(f"thread pool: {statistics.median(times['pool']) * 1000:6.0f} ms a round, CPU {total['pool'] * 1000:6.1f} ms")
    print(f"ratio of CPU: pool / proxy {total['pool'] / total['multiplexer']:.1f}, "
          f"pool / (proxy + client) {total['pool'] / (total['multiplexer'] + total['client']):.1f}")
    print(f"answers differ by {abs(rows - pool_rows)} rows (status changes between the two)" if rows != pool_rows else "")


if __name__ == "__main__":
    try:
        main()
    finally:
        for child in children:
            child.send_signal(signal.SIGKILL)
        shutil.rmtree(os.environ.get("TMPDIR", "/nonexistent"), ignore_errors=True)
