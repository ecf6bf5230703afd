// An application with Go's database/sql and go-sql-driver: it connects, handles what could be requests with prepared statements,
// and uses a transaction. Its phases: see ../checks.py.
package main

import (
	"bufio"
	"database/sql"
	"fmt"
	"log"
	"os"

	_ "github.com/go-sql-driver/mysql"
)

var input = bufio.NewReader(os.Stdin)

func phase(name string) {
	fmt.Println(name)
	if _, err := input.ReadString('\n'); err != nil {
		log.Fatal(err)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	args := os.Args
	dsn := fmt.Sprintf("%s:%s@tcp(%s:%s)/%s?parseTime=true&loc=UTC", args[3], args[4], args[1], args[2], args[5])
	db, err := sql.Open("mysql", dsn)
	check(err)
	check(db.Ping())
	phase("connected")
	_, err = db.Exec("DROP TABLE IF EXISTS go_item")
	check(err)
	_, err = db.Exec("CREATE TABLE go_item (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20) UNIQUE, price INT)")
	check(err)
	phase("migrated")
	insert, err := db.Prepare("INSERT INTO go_item (name, price) VALUES (?, ?)")
	check(err)
	for number := 0; number < 5; number++ {
		result, err := insert.Exec(fmt.Sprintf("item %d", number), number)
		check(err)
		if id, _ := result.LastInsertId(); id != int64(number+1) {
			log.Fatalf("id %d", id)
		}
		phase(fmt.Sprintf("created %d", number))
	}
	var count int
	check(db.QueryRow("SELECT COUNT(*) FROM go_item WHERE price > ?", 2).Scan(&count))
	if count != 2 {
		log.Fatalf("count %d", count)
	}
	phase("requests")
	tx, err := db.Begin()
	check(err)
	var price int
	check(tx.QueryRow("SELECT price FROM go_item WHERE name = ? FOR UPDATE", "item 3").Scan(&price))
	_, err = tx.Exec("UPDATE go_item SET price = ? WHERE name = ?", price*10, "item 3")
	check(err)
	phase("transaction")
	check(tx.Commit())
	phase("committed")
	check(db.QueryRow("SELECT price FROM go_item WHERE name = 'item 3'").Scan(&price))
	if price != 30 {
		log.Fatalf("price %d", price)
	}
	phase("read")
}
