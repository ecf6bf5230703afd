"""A command-line client, driven through its standard input. Arguments: "mariadb" or "mysql", the
program, and options that it needs to find its own files."""
import json
import os
import re
import subprocess
import sys
import zlib

KIND, PROGRAM, OPTIONS = sys.argv[1], sys.argv[2], sys.argv[3:]


def connection(job):
    options = [
        "--no-defaults", f"--user={job['user']}", f"--password={job['password']}", "--local-infile=1",
        "--force", "--vertical", "--unbuffered", "--column-type-info", "--show-warnings", "--skip-reconnect", "--binary-as-hex",
        "--max-allowed-packet=1G", "--connect-timeout=20", "--default-character-set=utf8mb4",
    ]
    if job.get("socket"):
        options.append(f"--socket={job['socket']}")
    else:
        options += ["--protocol=tcp", f"--host={job['host']}", f"--port={job['port']}"]
    if KIND == "mysql":
        mode = {"off": "DISABLED", "required": "REQUIRED", "verify-ca": "VERIFY_CA"}[job["tls"]]
        options.append(f"--ssl-mode={mode}")
        options.append("--get-server-public-key")
        if job["compression"] != "none":
            options.append(f"--compression-algorithms={job['compression']}")
    else:
        # MariaDB's client compares the name, too; the certificates have it.
        options += {
            "off": ["--skip-ssl"],
            "required": ["--ssl", "--skip-ssl-verify-server-cert"],
            "verify-ca": ["--ssl", "--ssl-verify-server-cert"],
        }[job["tls"]]
        if job["compression"] == "zstd":
            return None
        if job["compression"] == "zlib":
            options.append("--compress")
    if job["tls"] == "verify-ca":
        options.append(f"--ssl-ca={job['ca']}")
    return options + [job["database"]]


def literal(p):
    """A parameter as SQL, since the client has no other way."""
    if p is None:
        return "NULL"
    if isinstance(p, dict):
        for name in ("int", "decimal"):
            if name in p:
                return p[name]
        if "hex" in p:
            return f"x'{p['hex']}'"
        if "datetime" in p:
            return f"'{p['datetime']}'"
        return f"'{p['repeat'] * p['times']}'"
    if isinstance(p, str):
        return "'" + p.replace("\\", "\\\\").replace("'", "''") + "'"
    return repr(p)


def statements(step):
    """The client's input for a step, None if it does not support the step."""
    op = step["op"]
    if op == "query":
        return "delimiter ;;;\n" + step["sql"] + "\n;;;\ndelimiter ;"
    if op == "big":
        return "SELECT LENGTH('" + "y" * step["n"] + "');"
    if op == "prepare":
        names = [f"@p{i}" for i in range(len(step["params"]))]
        sets = "".join(f"SET {n} = {literal(p)};\n" for n, p in zip(names, step["params"]))
        using = " USING " + ", ".join(names) if names else ""
        sql = step["sql"].replace("'", "''")
        return f"{sets}PREPARE s FROM '{sql}';\nEXECUTE s{using};\nDEALLOCATE PREPARE s;"
    if op == "init_db":
        return f"USE {step['db']}"
    if op == "reset" and KIND == "mysql":
        return "resetconnection"
    return None


def shorten(text):
    lines = []
    for line in text.decode("utf-8", "backslashreplace").split("\n"):
        # Leave out the input's line number and the copyright's year, which may differ.
        line = re.sub(r"^ERROR (\d+) \((\w+)\) at line \d+", r"ERROR \1 (\2)", line)
        if line.startswith("WARNING:") or "Using a password on the command line" in line:
            continue
        if len(line) > 300:
            line = f"#{len(line)}:{zlib.crc32(line.encode())}"
        lines.append(line)
    return lines


version = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True).stdout
version = re.search(r"(?:Distrib|from|Ver(?! 15\.)) (\d[\d.]*)", version).group(1)
print(json.dumps({"client": f"{KIND} command line {version}"}), flush=True)
for line in sys.stdin:
    job = json.loads(line)
    options = connection(job)
    if options is None:
        print(json.dumps({"error": "unsupported"}), flush=True)
        continue
    script, said = [], []
    for n, step in enumerate(job["steps"]):
        lines = statements(step)
        said.append(None if lines else "unsupported")
        if lines:
            # A marker to split the output at. The client prints it, without the server.
            script.append(f"system echo '@@{n}'\n{lines}\n")
    script.append("system echo '@@end'\n")
    done = subprocess.run(
        [PROGRAM, options[0], *OPTIONS, *options[1:], *(["--commands"] if KIND == "mysql" else [])]
        + (["--system-command=ON"] if KIND == "mysql" else []),
        input="".join(script).encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=dict(os.environ, TZ="UTC"),
    )
    parts = re.split(rb"^@@(\w+)\n", done.stdout, flags=re.M)
    if len(parts) == 1:
        print(json.dumps({"error": shorten(parts[0])}), flush=True)
        continue
    for name, text in zip(parts[1::2], parts[2::2]):
        if name != b"end":
            said[int(name)] = shorten(text)
    print(json.dumps({"steps": said, "code": done.returncode}), flush=True)
