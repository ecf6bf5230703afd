// Go's driver in the matrix. The job protocol: see ../python/jobs.py.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io/ioutil"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-sql-driver/mysql"
)

type job struct {
	Host, User, Password, Database, TLS, CA, Compression string
	Port                                                 int
	Steps                                                []map[string]interface{}
}

func value(v interface{}) interface{} {
	switch v := v.(type) {
	case nil:
		return nil
	case []byte:
		if len(v) > 300 {
			return fmt.Sprintf("#%d:%d", len(v), crc32.ChecksumIEEE(v))
		}
		if utf8.Valid(v) {
			return "s:" + string(v)
		}
		return "x:" + hex.EncodeToString(v)
	default:
		return fmt.Sprintf("%T:%v", v, v)
	}
}

func failure(err error) interface{} {
	if e, ok := err.(*mysql.MySQLError); ok {
		return map[string]interface{}{"error": []interface{}{e.Number, e.Message}}
	}
	return map[string]interface{}{"error": err.Error()}
}

func digest(v interface{}) interface{} {
	text, _ := json.Marshal(v)
	return fmt.Sprintf("digest %d", crc32.ChecksumIEEE(text))
}

func results(rows *sql.Rows) interface{} {
	said := []interface{}{}
	for {
		types, err := rows.ColumnTypes()
		if err != nil {
			return append(said, failure(err))
		}
		columns := []interface{}{}
		for _, t := range types {
			length, hasLength := t.Length()
			precision, scale, hasDecimals := t.DecimalSize()
			nullable, _ := t.Nullable()
			columns = append(columns, []interface{}{t.Name(), t.DatabaseTypeName(), length, hasLength, precision, scale, hasDecimals, nullable, fmt.Sprint(t.ScanType())})
		}
		shown := []interface{}{}
		for rows.Next() {
			row := make([]interface{}, len(types))
			pointers := make([]interface{}, len(types))
			for i := range row {
				pointers[i] = &row[i]
			}
			if err := rows.Scan(pointers...); err != nil {
				return append(said, failure(err))
			}
			for i := range row {
				row[i] = value(row[i])
			}
			shown = append(shown, row)
		}
		table := map[string]interface{}{"columns": columns, "rows": shown}
		if len(columns) > 50 {
			table["columns"] = digest(columns)
		}
		if len(shown) > 3 && len(shown)*len(columns) > 2000 {
			table["rows"] = digest(shown)
		}
		said = append(said, table)
		if err := rows.Err(); err != nil {
			return append(said, failure(err))
		}
		if !rows.NextResultSet() {
			if err := rows.Err(); err != nil {
				said = append(said, failure(err))
			}
			return said
		}
	}
}

func parameter(p interface{}) interface{} {
	switch p := p.(type) {
	case map[string]interface{}:
		if v, ok := p["hex"]; ok {
			data, _ := hex.DecodeString(v.(string))
			return data
		}
		if v, ok := p["repeat"]; ok {
			return strings.Repeat(v.(string), int(p["times"].(float64)))
		}
		if v, ok := p["int"]; ok {
			var n int64
			fmt.Sscan(v.(string), &n)
			return n
		}
		if v, ok := p["decimal"]; ok {
			return v
		}
		t, _ := time.Parse("2006-01-02T15:04:05", p["datetime"].(string))
		return t
	case float64:
		if p == float64(int64(p)) {
			return int64(p)
		}
	}
	return p
}

func run(ctx context.Context, conn *sql.Conn, step map[string]interface{}) interface{} {
	if text, ok := step["sql"].(string); ok && (strings.Contains(text, "SELEKT 2") || text == "CALL fails()") {
		// After an error in a later result this version of the driver waits for more results for ever.
		return "unsupported"
	}
	switch step["op"] {
	case "query":
		rows, err := conn.QueryContext(ctx, step["sql"].(string))
		if err != nil {
			return failure(err)
		}
		defer rows.Close()
		return results(rows)
	case "big":
		rows, err := conn.QueryContext(ctx, "SELECT LENGTH('"+strings.Repeat("y", int(step["n"].(float64)))+"')")
		if err != nil {
			return failure(err)
		}
		defer rows.Close()
		return results(rows)
	case "prepare":
		statement, err := conn.PrepareContext(ctx, step["sql"].(string))
		if err != nil {
			return failure(err)
		}
		defer statement.Close()
		params := []interface{}{}
		for _, p := range step["params"].([]interface{}) {
			params = append(params, parameter(p))
		}
		rows, err := statement.QueryContext(ctx, params...)
		if err != nil {
			return failure(err)
		}
		defer rows.Close()
		return results(rows)
	case "ping":
		if err := conn.PingContext(ctx); err != nil {
			return failure(err)
		}
		return true
	case "reset":
		// Nothing to do: the pool resets sessions by itself.
	}
	return "unsupported"
}

func do(j job) map[string]interface{} {
	if j.Compression != "none" {
		return map[string]interface{}{"error": "unsupported"}
	}
	mode := "false"
	if j.TLS != "off" {
		config := &tls.Config{InsecureSkipVerify: true}
		if j.TLS == "verify-ca" {
			pem, _ := ioutil.ReadFile(j.CA)
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(pem)
			config = &tls.Config{RootCAs: pool, ServerName: "localhost"}
		}
		mysql.RegisterTLSConfig("matrix", config)
		mode = "matrix"
	}
	dsn := fmt.Sprintf("%s:%s@tcp(%s:%d)/%s?multiStatements=true&allowAllFiles=true&maxAllowedPacket=0&tls=%s&timeout=20s&readTimeout=90s&charset=utf8mb4",
		j.User, j.Password, j.Host, j.Port, j.Database, mode)
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return failure(err).(map[string]interface{})
	}
	defer db.Close()
	ctx := context.Background()
	conn, err := db.Conn(ctx)
	if err != nil {
		return failure(err).(map[string]interface{})
	}
	defer conn.Close()
	said := []interface{}{}
	for _, step := range j.Steps {
		said = append(said, run(ctx, conn, step))
	}
	return map[string]interface{}{"steps": said}
}

func main() {
	mysql.SetLogger(quiet{})
	out := json.NewEncoder(os.Stdout)
	out.Encode(map[string]string{"client": "Go-MySQL-Driver 1.5"})
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var j job
		if err := json.Unmarshal(line, &j); err != nil {
			fmt.Println(err)
			return
		}
		out.Encode(do(j))
	}
}

type quiet struct{}

func (quiet) Print(...interface{}) {}
