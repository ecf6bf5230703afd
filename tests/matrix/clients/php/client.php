<?php
// PHP's mysqli in the matrix. The job protocol: see ../python/jobs.py.
ini_set('memory_limit', '1G');
mysqli_report(MYSQLI_REPORT_OFF);
const LONG = 300;

class Unsupported extends Exception {}

function value($v) {
    if (!is_string($v)) return is_float($v) ? 'f:' . var_export($v, true) : $v;
    if (strlen($v) > LONG) return 's#' . strlen($v) . ':' . crc32($v);
    return preg_match('//u', $v) ? "s:$v" : 'x:' . bin2hex($v);
}

function table($result) {
    $columns = array_map(fn($f) => array_map('value', [
        $f->name, $f->orgname, $f->table, $f->length, $f->charsetnr, $f->flags, $f->type, $f->decimals,
    ]), $result->fetch_fields());
    $rows = array_map(fn($row) => array_map('value', $row), $result->fetch_all(MYSQLI_NUM));
    if (count($columns) > 50) $columns = [count($columns), crc32(json_encode($columns))];
    if (count($rows) > 3 && count($rows) * count($rows[0]) > 2000) {
        $rows = [count($rows), crc32(json_encode($rows))];
    }
    return ['columns' => $columns, 'rows' => $rows];
}

function error($of) {
    return ['error' => [$of->errno, $of->sqlstate ?? null, $of->error]];
}

function parameter($p) {
    if (!is_array($p)) return $p;
    if (isset($p['hex'])) return hex2bin($p['hex']);
    if (isset($p['repeat'])) return str_repeat($p['repeat'], $p['times']);
    return $p['int'] ?? $p['decimal'] ?? $p['datetime'];
}

function query($conn, $sql) {
    $said = [];
    $ok = $conn->multi_query($sql);
    while (true) {
        if (!$ok) {
            $said[] = error($conn);
            return $said;
        }
        $result = $conn->store_result();
        if ($result) {
            $said[] = table($result);
            $result->free();
        } elseif ($conn->errno) {
            $said[] = error($conn);
            return $said;
        } else {
            $said[] = ['affected' => $conn->affected_rows, 'id' => $conn->insert_id,
                'info' => $conn->info, 'warnings' => $conn->warning_count];
        }
        if (!$conn->more_results()) return $said;
        $ok = $conn->next_result();
    }
}

function prepare($conn, $step) {
    $statement = $conn->prepare($step['sql']);
    if (!$statement) return error($conn);
    $params = array_map('parameter', $step['params']);
    $types = implode('', array_map(fn($p) => is_int($p) ? 'i' : (is_float($p) ? 'd' : 's'), $params));
    if ($params) $statement->bind_param($types, ...$params);
    $said = [];
    if (!$statement->execute()) {
        $said[] = error($statement);
    } else {
        do {
            $result = $statement->get_result();
            if ($result) {
                $said[] = table($result);
                $result->free();
            } elseif ($statement->errno) {
                $said[] = error($statement);
            } else {
                $said[] = ['affected' => $statement->affected_rows, 'id' => $statement->insert_id];
            }
        } while ($statement->more_results() && $statement->next_result());
    }
    $statement->close();
    return $said;
}

function step($conn, $step) {
    switch ($step['op']) {
        case 'query': return query($conn, $step['sql']);
        case 'big': return query($conn, "SELECT LENGTH('" . str_repeat('y', $step['n']) . "')");
        case 'prepare': return prepare($conn, $step);
        case 'ping': return $conn->query('DO 1') && @$conn->ping();
        case 'statistics': return strtok($conn->stat(), ':');
        case 'init_db': return $conn->select_db($step['db']) ?: error($conn);
        case 'change_user':
            return $conn->change_user($step['user'], $step['password'], $step['database']) ?: error($conn);
        default: return 'unsupported';
    }
}

function connect($job) {
    if ($job['compression'] === 'zstd') throw new Unsupported();
    $conn = mysqli_init();
    $conn->options(MYSQLI_OPT_LOCAL_INFILE, 1);
    $conn->options(MYSQLI_OPT_CONNECT_TIMEOUT, 20);
    $flags = $job['compression'] === 'zlib' ? MYSQLI_CLIENT_COMPRESS : 0;
    if ($job['tls'] !== 'off') {
        $conn->ssl_set(null, null, $job['tls'] === 'verify-ca' ? $job['ca'] : null, null, null);
        $flags |= MYSQLI_CLIENT_SSL;
        $flags |= $job['tls'] === 'verify-ca' ? MYSQLI_CLIENT_SSL_VERIFY_SERVER_CERT : MYSQLI_CLIENT_SSL_DONT_VERIFY_SERVER_CERT;
    }
    $ok = @$conn->real_connect($job['host'], $job['user'], $job['password'], $job['database'],
        $job['port'], $job['socket'], $flags);
    if (!$ok) throw new Exception("$conn->connect_errno $conn->connect_error");
    $conn->set_charset('utf8mb4');
    return $conn;
}

ini_set('mysqli.allow_local_infile', '1');
echo json_encode(['client' => 'PHP mysqli ' . PHP_VERSION]), "\n";
while (($line = fgets(STDIN)) !== false) {
    $job = json_decode($line, true);
    try {
        $conn = connect($job);
        $answer = ['steps' => []];
        foreach ($job['steps'] as $step) $answer['steps'][] = @step($conn, $step);
        @$conn->close();
    } catch (Unsupported $e) {
        $answer = ['error' => 'unsupported'];
    } catch (Throwable $e) {
        $answer = ['error' => $e->getMessage()];
    }
    echo json_encode($answer, JSON_INVALID_UTF8_SUBSTITUTE | JSON_UNESCAPED_UNICODE), "\n";
}
