//! Clients of the `mysql` crate: each has rows of its own, and knows what every answer must be.

use mysql::prelude::Queryable as _;
use mysql::{Compression, Conn};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::scene::{ANSWER, CLIENTS, ROWS, Scene, Way, value};
use crate::support::{Over, let_time_pass, options};

/// A client of one way.
pub struct Client<'a> {
    scene: &'a Scene,
    way: &'a Way,
    /// Whose rows it asks for.
    number: usize,
    dice: StdRng,
    counter: Counter,
    pub answers: u64,
    pub errors: u64,
    /// What it is about to ask.
    doing: &'static str,
}

/// What a client knows of the number in its row of `counter`.
#[derive(Debug, Default)]
struct Counter {
    /// It is at least this.
    sure: u64,
    /// So many more times it may have been counted up: the answer did not arrive.
    unsure: u64,
}

impl Counter {
    /// What was read agrees with what is known, and is all that is known now.
    fn read(&mut self, n: u64) {
        assert!(
            (self.sure..=self.sure + self.unsure).contains(&n),
            "the counter is {n}, and should be {self:?}"
        );
        self.unsure -= n - self.sure;
        self.sure = n;
    }
}

type Done = Result<(), mysql::Error>;

impl<'a> Client<'a> {
    pub fn new(scene: &'a Scene, way: &'a Way, number: usize) -> Client<'a> {
        assert!(number < CLIENTS, "it has rows");
        Client {
            scene,
            way,
            number,
            dice: StdRng::seed_from_u64(scene.record.seed ^ (number as u64) << 32),
            counter: Counter::default(),
            answers: 0,
            errors: 0,
            doing: "",
        }
    }

    pub fn name(&self) -> String {
        format!("client {} of {}", self.number, self.way.name)
    }

    /// Asks until all is over.
    pub fn run(&mut self, over: &Over) {
        while !over.is() {
            let Err(error) = self.visit(over) else {
                continue;
            };
            self.errors += 1;
            self.scene.excuse(&self.name(), self.doing, &error);
            let_time_pass(std::time::Duration::from_millis(
                self.dice.random_range(1..200),
            ));
        }
    }

    /// One connection.
    fn visit(&mut self, over: &Over) -> Done {
        self.doing = "logging in";
        let compressed = self.dice.random_ratio(1, 3) && !self.way.name.starts_with("service");
        let how = options(self.way.port)
            .db_name(Some("soak"))
            .compress(compressed.then(Compression::fast))
            .read_timeout(Some(ANSWER))
            .prefer_socket(false);
        let mut conn = Conn::new(how)?;
        if self.way.name.starts_with("service") {
            while !over.is() && !self.dice.random_ratio(1, 100) {
                self.serve_yourself(&mut conn)?;
            }
            return Ok(());
        }
        self.doing = "setting a variable";
        conn.query_drop(format!("SET @me = {}", self.number))?;
        self.count(&mut conn)?;
        while !over.is() && !self.dice.random_ratio(1, 100) {
            self.ask(&mut conn)?;
            self.answers += 1;
            let_time_pass(std::time::Duration::from_millis(
                self.dice.random_range(0..8),
            ));
        }
        Ok(())
    }

    fn ask(&mut self, conn: &mut Conn) -> Done {
        // Few enough that whatever remembers texts has seen all of them before anything is measured.
        let n = self.dice.random_range(0..ROWS / 10) * 10;
        match self.dice.random_range(0..10) {
            0 | 1 => self.a_row(conn, n),
            2 => self.a_row_by_statement(conn, n),
            3 => self.all_rows(conn),
            4 => self.count_up(conn),
            5 => self.transaction(conn),
            6 => self.a_mistake(conn),
            7 => self.a_secret(conn, n),
            // What is computed, or in several statements, is not for all plug-ins.
            _ if self.way.masks() => self.a_row(conn, n),
            8 => self.own_variable(conn),
            _ if self.dice.random() => self.two_results(conn, n),
            _ => self.long_value(conn, n),
        }
    }

    fn value(&self, n: usize) -> String {
        value(self.way.server, self.number, n)
    }

    fn a_row(&mut self, conn: &mut Conn, n: usize) -> Done {
        self.doing = "reading a row";
        let me = self.number;
        let rows: Vec<(usize, usize, String)> = conn.query(format!(
            "SELECT client, n, v FROM own WHERE client = {me} AND n = {n}"
        ))?;
        assert_eq!(rows, [(me, n, self.value(n))], "{}", self.name());
        Ok(())
    }

    fn a_row_by_statement(&mut self, conn: &mut Conn, n: usize) -> Done {
        self.doing = "reading a row by a statement";
        let sql = "SELECT client, n, v FROM own WHERE client = ? AND n = ?";
        let rows: Vec<(usize, usize, String)> = conn.exec(sql, (self.number, n))?;
        assert_eq!(rows, [(self.number, n, self.value(n))], "{}", self.name());
        Ok(())
    }

    fn all_rows(&mut self, conn: &mut Conn) -> Done {
        self.doing = "reading all rows";
        let sql = format!(
            "SELECT n, v FROM own WHERE client = {} ORDER BY n",
            self.number
        );
        let rows: Vec<(usize, String)> = conn.query(sql)?;
        let wanted: Vec<_> = (0..ROWS).map(|n| (n, self.value(n))).collect();
        assert!(rows == wanted, "{}: {rows:?}", self.name());
        Ok(())
    }

    /// Reads the counter.
    fn count(&mut self, conn: &mut Conn) -> Done {
        self.doing = "reading the counter";
        let sql = format!("SELECT n FROM counter WHERE client = {}", self.number);
        let n: Vec<u64> = conn.query(sql)?;
        assert_eq!(n.len(), 1, "{}", self.name());
        self.counter.read(n[0]);
        Ok(())
    }

    fn update(&self) -> String {
        format!(
            "UPDATE counter SET n = n + 1 WHERE client = {}",
            self.number
        )
    }

    fn count_up(&mut self, conn: &mut Conn) -> Done {
        self.doing = "counting up";
        self.counter.unsure += 1;
        conn.query_drop(self.update())?;
        assert_eq!(conn.affected_rows(), 1, "{}", self.name());
        self.counter.unsure -= 1;
        self.counter.sure += 1;
        self.count(conn)
    }

    fn transaction(&mut self, conn: &mut Conn) -> Done {
        self.doing = "a transaction";
        conn.query_drop("START TRANSACTION")?;
        conn.query_drop(self.update())?;
        let inside: Vec<u64> = conn.query(format!(
            "SELECT n FROM counter WHERE client = {}",
            self.number
        ))?;
        assert_eq!(inside.len(), 1);
        self.counter.read(inside[0] - 1);
        if self.dice.random() {
            self.doing = "rolling back";
            conn.query_drop("ROLLBACK")?;
        } else {
            self.doing = "committing";
            self.counter.unsure += 1;
            conn.query_drop("COMMIT")?;
            self.counter.unsure -= 1;
            self.counter.sure += 1;
        }
        self.count(conn)
    }

    fn a_mistake(&mut self, conn: &mut Conn) -> Done {
        self.doing = "making a mistake";
        match conn.query_drop("SELECT nobody FROM own") {
            Err(mysql::Error::MySqlError(error)) if error.code == 1054 => Ok(()),
            Err(error) => Err(error),
            Ok(()) => panic!("{}: there is no such column", self.name()),
        }
    }

    fn a_secret(&mut self, conn: &mut Conn, n: usize) -> Done {
        self.doing = "reading a secret";
        let sql = format!(
            "SELECT secret FROM own WHERE client = {} AND n = {n}",
            self.number
        );
        let secret: Vec<String> = conn.query(sql)?;
        let wanted = match self.way.masks() {
            true => "***".to_owned(),
            false => format!("hush{n}"),
        };
        assert_eq!(secret, [wanted], "{}", self.name());
        Ok(())
    }

    fn own_variable(&mut self, conn: &mut Conn) -> Done {
        self.doing = "reading the session's variable";
        let mine: Vec<Option<usize>> = conn.query("SELECT @me")?;
        assert_eq!(
            mine,
            [Some(self.number)],
            "{}: the session is its own",
            self.name()
        );
        Ok(())
    }

    fn two_results(&mut self, conn: &mut Conn, n: usize) -> Done {
        self.doing = "reading two results";
        let me = self.number;
        let mut results = conn.query_iter(format!(
            "SELECT {n}; SELECT v FROM own WHERE client = {me} AND n = {n}"
        ))?;
        let mut sets: Vec<Vec<String>> = Vec::new();
        while let Some(set) = results.iter() {
            let rows: Result<Vec<String>, _> = set.map(|row| row.map(mysql::from_row)).collect();
            sets.push(rows?);
        }
        let wanted = [vec![n.to_string()], vec![value(self.way.server, me, n)]];
        assert_eq!(sets, wanted, "client {me} of {}", self.way.name);
        Ok(())
    }

    fn long_value(&mut self, conn: &mut Conn, n: usize) -> Done {
        self.doing = "reading a long value";
        let length = 10_usize.pow(self.dice.random_range(2..6)) * (n % 9 + 1);
        let letter = char::from(b'a' + (self.number % 26) as u8);
        let text: Vec<String> = conn.query(format!("SELECT REPEAT('{letter}', {length})"))?;
        assert_eq!(text.len(), 1);
        assert!(
            text[0].len() == length && text[0].chars().all(|c| c == letter),
            "{}: {length} of {letter}, got {}",
            self.name(),
            text[0].len()
        );
        Ok(())
    }

    fn serve_yourself(&mut self, conn: &mut Conn) -> Done {
        self.doing = "asking the service";
        let n = self.dice.random_range(0..ROWS);
        let rows: Vec<(usize, usize, String)> = conn.query(format!("own {} {n}", self.number))?;
        assert_eq!(rows, [(self.number, n, self.value(n))], "{}", self.name());
        self.answers += 1;
        Ok(())
    }
}
