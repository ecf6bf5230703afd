import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.util.*;
import java.util.zip.CRC32;

/** MariaDB Connector/J in the matrix. The job protocol: see ../python/jobs.py. */
public final class Client {
    static long crc(byte[] bytes) {
        CRC32 crc = new CRC32();
        crc.update(bytes);
        return crc.getValue();
    }

    static Object value(Object v) {
        if (v == null || v instanceof Integer || v instanceof Long || v instanceof Boolean) return v;
        if (v instanceof byte[]) {
            byte[] bytes = (byte[]) v;
            if (bytes.length > 300) return "x#" + bytes.length + ":" + crc(bytes);
            return "x:" + new BigInteger(1, bytes).toString(16) + "/" + bytes.length;
        }
        if (v instanceof Blob || v instanceof Clob) {
            try {
                if (v instanceof Clob) return value(((Clob) v).getSubString(1, (int) ((Clob) v).length()));
                return value(((Blob) v).getBytes(1, (int) ((Blob) v).length()));
            } catch (SQLException e) {
                return error(e);
            }
        }
        String text = v.toString();
        if (text.length() > 300) return "s#" + text.length() + ":" + crc(text.getBytes(StandardCharsets.UTF_8));
        return v.getClass().getSimpleName() + ":" + text;
    }

    static Map<String, Object> error(SQLException e) {
        // "(conn=12)" is the connection's id.
        String message = String.valueOf(e.getMessage()).split("\n")[0].replaceAll("\\(conn=\\d+\\)", "");
        return Map.of("error", Arrays.asList(e.getErrorCode(), e.getSQLState(), message));
    }

    static List<Object> results(Statement st, boolean rows) throws SQLException {
        List<Object> said = new ArrayList<>();
        try {
            while (true) {
                if (rows) {
                    said.add(table(st.getResultSet()));
                } else {
                    int count = st.getUpdateCount();
                    if (count == -1) return said;
                    said.add(Map.of("affected", count));
                }
                rows = st.getMoreResults();
            }
        } catch (SQLException e) {
            said.add(error(e));
        }
        return said;
    }

    static Object table(ResultSet rs) throws SQLException {
        ResultSetMetaData meta = rs.getMetaData();
        List<Object> columns = new ArrayList<>();
        int n = meta.getColumnCount();
        for (int i = 1; i <= n; i++) {
            columns.add(Arrays.asList(meta.getColumnLabel(i), meta.getColumnName(i), meta.getTableName(i),
                meta.getColumnTypeName(i), meta.getColumnType(i), meta.getPrecision(i), meta.getScale(i),
                meta.isSigned(i), meta.isNullable(i), meta.getColumnClassName(i)));
        }
        List<Object> rows = new ArrayList<>();
        while (rs.next()) {
            List<Object> row = new ArrayList<>();
            for (int i = 1; i <= n; i++) {
                try {
                    row.add(value(rs.getObject(i)));
                } catch (SQLException e) {
                    row.add(error(e));
                }
            }
            rows.add(row);
        }
        Map<String, Object> shown = new LinkedHashMap<>();
        shown.put("columns", n > 50 ? crc(Json.show(columns).getBytes(StandardCharsets.UTF_8)) : columns);
        boolean many = rows.size() > 3 && rows.size() * n > 2000;
        shown.put("rows", many ? rows.size() + " rows " + crc(Json.show(rows).getBytes(StandardCharsets.UTF_8)) : rows);
        return shown;
    }

    static Object parameter(Object p) {
        if (!(p instanceof Map)) return p;
        Map<?, ?> m = (Map<?, ?>) p;
        if (m.containsKey("int")) return new BigInteger((String) m.get("int")).longValueExact();
        if (m.containsKey("decimal")) return new BigDecimal((String) m.get("decimal"));
        if (m.containsKey("datetime")) return Timestamp.valueOf(((String) m.get("datetime")).replace('T', ' '));
        if (m.containsKey("repeat")) return ((String) m.get("repeat")).repeat(((Long) m.get("times")).intValue());
        String hex = (String) m.get("hex");
        byte[] bytes = new byte[hex.length() / 2];
        for (int i = 0; i < bytes.length; i++) bytes[i] = (byte) Integer.parseInt(hex.substring(2 * i, 2 * i + 2), 16);
        return bytes;
    }

    static void bind(PreparedStatement st, List<?> params) throws SQLException {
        for (int i = 0; i < params.size(); i++) st.setObject(i + 1, parameter(params.get(i)));
    }

    static Object step(Connection conn, Map<?, ?> step) throws SQLException {
        String sql = (String) step.get("sql");
        switch ((String) step.get("op")) {
            case "big":
                sql = "SELECT LENGTH('" + "y".repeat(((Long) step.get("n")).intValue()) + "')";
            case "query":
                try (Statement st = conn.createStatement()) {
                    return results(st, st.execute(sql));
                }
            case "prepare":
                try (PreparedStatement st = conn.prepareStatement(sql)) {
                    bind(st, (List<?>) step.get("params"));
                    return results(st, st.execute());
                }
            case "bulk":
                try (PreparedStatement st = conn.prepareStatement(sql)) {
                    for (Object row : (List<?>) step.get("rows")) {
                        bind(st, (List<?>) row);
                        st.addBatch();
                    }
                    return Arrays.toString(st.executeBatch());
                }
            case "ping":
                return conn.isValid(10);
            case "init_db":
                conn.setCatalog((String) step.get("db"));
                return null;
            default:
                return "unsupported";
        }
    }

    static String url(Map<?, ?> job) {
        String url = "jdbc:mariadb://" + job.get("host") + ":" + job.get("port") + "/" + job.get("database")
            + "?allowMultiQueries=true&useServerPrepStmts=true&allowLocalInfile=true&connectTimeout=20000"
            + "&allowPublicKeyRetrieval=true&socketTimeout=90000&useCompression=" + job.get("compression").equals("zlib");
        switch ((String) job.get("tls")) {
            case "off": return url + "&useSsl=false";
            case "required": return url + "&useSsl=true&trustServerCertificate=true";
            default: return url + "&useSsl=true&disableSslHostnameVerification=true&serverSslCert=" + job.get("ca");
        }
    }

    public static void main(String[] args) throws Exception {
        TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
        Driver driver = new org.mariadb.jdbc.Driver();
        System.out.println(Json.show(Map.of("client",
            "MariaDB Connector/J " + org.mariadb.jdbc.internal.util.constant.Version.version)));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            Map<?, ?> job = (Map<?, ?>) Json.parse(line);
            Map<String, Object> answer = new LinkedHashMap<>();
            Properties who = new Properties();
            who.setProperty("user", (String) job.get("user"));
            who.setProperty("password", (String) job.get("password"));
            if (job.get("compression").equals("zstd")) {
                answer.put("error", "unsupported");
            } else {
                try (Connection conn = driver.connect(url(job), who)) {
                    List<Object> steps = new ArrayList<>();
                    answer.put("steps", steps);
                    for (Object step : (List<?>) job.get("steps")) {
                        try {
                            steps.add(step(conn, (Map<?, ?>) step));
                        } catch (SQLException e) {
                            steps.add(error(e));
                        } catch (RuntimeException e) {
                            steps.add(e.toString());
                        }
                    }
                } catch (SQLException e) {
                    if (!answer.containsKey("steps")) answer.putAll(error(e));
                }
            }
            System.out.println(Json.show(answer));
        }
    }
}
