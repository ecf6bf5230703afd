"""What an idle connection costs the proxy in memory. See benches/memory.sh."""

import argparse
import hashlib
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
KINDS = ["passthrough", "five-states", "five-callbacks", "rows", "chain", "closures", "proxied", "service",
         "tls-client", "tls-both", "compressed"]
PATIENCE = 60  # seconds

PROTOCOL_41, SSL, COMPRESS, TRANSACTIONS, SECURE, PLUGIN_AUTH = 1 << 9, 1 << 11, 1 << 5, 1 << 13, 1 << 15, 1 << 19
CAPABILITIES = 1 | PROTOCOL_41 | TRANSACTIONS | SECURE | PLUGIN_AUTH
NATIVE = b"mysql_native_password\0"
OK = b"\0\0\0\2\0\0\0"


def packet(sequence, payload):
    return len(payload).to_bytes(3, "little") + bytes([sequence]) + payload


def receive(sock, count):
    """Exactly so many bytes."""
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise ConnectionError("the connection was closed")
        data += more
    return data


def receive_packet(sock):
    header = receive(sock, 4)
    return header[3], receive(sock, int.from_bytes(header[:3], "little"))


# The server ------------------------------------------------------------------------------------------


def greeting(capabilities):
    return (b"\x0a8.0.40\0" + (1).to_bytes(4, "little") + b"12345678\0" + (capabilities & 0xFFFF).to_bytes(2, "little")
            + b"\x2d\2\0" + (capabilities >> 16).to_bytes(2, "little") + b"\x15" + bytes(10) + b"123456789012\0" + NATIVE)


def column(name):
    def text(value):
        return bytes([len(value)]) + value
    return (text(b"def") + text(b"") * 3 + text(name) * 2 + b"\x0c" + b"\x3f\0" + (20).to_bytes(4, "little") + b"\x08"
            + b"\0\0" + b"\0" + b"\0\0")


def result(sequence):
    eof = b"\xfe\0\0\2\0"
    payloads = [b"\1", column(b"1"), eof, b"\x011", eof]
    return b"".join(packet(sequence + at, payload) for at, payload in enumerate(payloads))


def play_server(listener, tls):
    """Takes one connection after the other through a login and a query. All of them stay open."""
    kept = []
    while True:
        sock, _ = listener.accept()
        try:
            sock.settimeout(PATIENCE)
            sock.sendall(packet(0, greeting(CAPABILITIES | (SSL if tls else 0))))
            sequence, login = receive_packet(sock)
            if tls and len(login) == 32:
                sock = tls.wrap_socket(sock, server_side=True)
                sequence, _ = receive_packet(sock)
            sock.sendall(packet(sequence + 1, OK))
            while receive_packet(sock)[1][:1] != b"\3":
                sock.sendall(packet(1, OK))
            sock.sendall(result(1))
        except OSError as problem:
            print(f"the server that is played: {problem}", file=sys.stderr)
        kept.append(sock)


def start_server(certificate):
    """In a process of its own, which has a limit of open files of its own, too. Returns its port and its id."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    port, parent = listener.getsockname()[1], os.getpid()
    child = os.fork()
    if child == 0:
        import ctypes
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with us
        if os.getppid() == parent:
            tls = None
            if certificate:
                tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                tls.load_cert_chain(certificate)
            play_server(listener, tls)
        os._exit(1)
    listener.close()
    return port, child


# The clients -----------------------------------------------------------------------------------------


def native_password(scramble, password):
    once = hashlib.sha1(password).digest()
    mask = hashlib.sha1(scramble + hashlib.sha1(once).digest()).digest()
    return bytes(a ^ b for a, b in zip(once, mask))


def log_in(port, tls, compress):
    """A client that has asked one query. With compression, that travels in a frame that is not compressed."""
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
    _, handshake = receive_packet(sock)
    at = handshake.index(0, 1) + 1 + 4
    scramble = handshake[at:at + 8] + handshake[at + 27:at + 39]
    capabilities = CAPABILITIES | (SSL if tls else 0) | (COMPRESS if compress else 0)
    head = capabilities.to_bytes(4, "little") + (1 << 24).to_bytes(4, "little") + b"\x2d" + bytes(23)
    sequence = 1
    if tls:
        sock.sendall(packet(sequence, head))
        sock = tls.wrap_socket(sock)
        sequence += 1
    proof = native_password(scramble, b"bench")
    sock.sendall(packet(sequence, head + b"bench\0" + bytes([len(proof)]) + proof + NATIVE))
    _, answer = receive_packet(sock)
    if answer[:1] != b"\0":
        raise ConnectionError(f"the login was refused: {answer!r}")
    query = packet(0, b"\3SELECT 1")
    if compress:
        sock.sendall(len(query).to_bytes(3, "little") + b"\0" + b"\0\0\0" + query)
        frame = receive(sock, 7)
        receive(sock, int.from_bytes(frame[:3], "little"))
    else:
        sock.sendall(query)
        for _ in range(5):
            receive_packet(sock)
    return sock


# Measuring -------------------------------------------------------------------------------------------


def resident(pid):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024


def numbers_of(dpm, beginning):
    """Those in the next line that begins so."""
    for line in dpm.stdout:
        if line.startswith(beginning):
            return [int(number) for number in line.split()[1:]]
    sys.exit("dpm has ended")


def after_collection(dpm, clients):
    """What is resident, and what of it is Lua's."""
    dpm.send_signal(signal.SIGHUP)
    there, lua = numbers_of(dpm, "collected ")
    if there != clients:
        sys.exit(f"{there} clients instead of {clients} are connected")
    return resident(dpm.pid), lua


def measure(program, kind, few, many, certificate):
    server_port, server = start_server(certificate if kind == "tls-both" else None)
    tls = None
    if kind.startswith("tls"):
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    command = [program, "--startfile", os.path.join(HERE, "kinds.lua"), "--", kind, str(server_port)]
    dpm = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *command], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, text=True, env={**os.environ, "RUST_LOG": "warn"})
    clients = []
    try:
        [port], sizes = numbers_of(dpm, "port "), []
        for count in few, many:
            while len(clients) < count:
                clients.append(log_in(port, tls, kind == "compressed"))
            sizes.append(after_collection(dpm, count))
        return [(last - first) / (many - few) for first, last in zip(*sizes)]
    finally:
        dpm.kill()
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
        dpm.wait()
        for client in clients:
            client.close()


def new_certificate():
    """The path of a file with a certificate and its key."""
    path = os.path.join(tempfile.mkdtemp(), "both.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
                    "-keyout", path + ".key", "-out", path], check=True, capture_output=True)
    with open(path, "a") as file, open(path + ".key") as key:
        file.write(key.read())
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--few", type=int, default=1000)
    parser.add_argument("--many", type=int, default=8000)
    parser.add_argument("--dpm", default=os.path.join(os.environ.get("CARGO_TARGET_DIR", ROOT + "/target"), "release/dpm"))
    options = parser.parse_args()
    kinds = options.kinds.split(",")
    for kind in kinds:
        if kind not in KINDS:
            parser.error(f"there is no kind {kind}, only {', '.join(KINDS)}")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 2 * options.many + 200:
        parser.error(f"{options.many} clients need {2 * options.many + 200} open files, and the limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    certificate = new_certificate() if "tls-both" in kinds else None

    print(f"| {options.few} to {options.many} clients | bytes each | of which Lua |\n| --- | --- | --- |")
    for kind in kinds:
        total, lua = measure(options.dpm, kind, options.few, options.many, certificate)
        print(f"| {kind} | {total:.0f} | {lua:.0f} |", flush=True)


main()
