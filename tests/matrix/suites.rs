//! The drivers' own test suites: through the pool, while strangers take connections away, each test must end as it
//! does directly. Which drivers, and which tests are left out and why, is said here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::ground::{Ground, PASSWORD, Way};
use crate::support::{Over, process};
use crate::{client, strangers};

/// How many connections the pool has: some tests hold several at once.
pub const POOL_SIZE: u32 = 6;

/// How long a suite may take.
const PATIENCE: Duration = Duration::from_secs(900);

/// How often a test that ends otherwise than directly is given another try, by running all again.
const TRIES: usize = 2;

/// A suite.
struct Suite {
    name: &'static str,
    /// Parts of the names of tests that are left out, and why.
    excluded: &'static [(&'static str, &'static str)],
    /// The command that runs it, if it is installed.
    command: fn(&Access) -> Option<Command>,
    /// The name and the result in a line of its output.
    result: fn(&str) -> Option<(&str, &str)>,
}

/// What a suite logs in to.
struct Access {
    port: u16,
    user: String,
    /// A folder for its configuration.
    folder: PathBuf,
}

const SUITES: [Suite; 4] = [
    Suite {
        name: "PyMySQL",
        excluded: &[
            ("TestAuthentication", "it manages users"),
            (
                "test_issue_36",
                "it looks for its connection's number in SHOW PROCESSLIST",
            ),
        ],
        command: pymysql,
        result: of_pytest,
    },
    Suite {
        name: "mysqlclient",
        excluded: &[],
        command: mysqlclient,
        result: of_pytest,
    },
    Suite {
        name: "go-sql-driver",
        excluded: &[],
        command: go,
        result: of_go,
    },
    Suite {
        name: "the mysql crate",
        excluded: &[],
        command: mysql_crate,
        result: of_rust,
    },
];

/// Runs all that are wanted; the number of tests that ended otherwise than directly.
pub fn run(grounds: &[Ground], wanted: impl Fn(&str) -> bool) -> i32 {
    let mut differences = 0;
    for ground in grounds {
        for suite in SUITES.iter().filter(|suite| wanted(suite.name)) {
            differences += compare(suite, ground);
        }
    }
    differences
}

fn compare(suite: &Suite, ground: &Ground) -> i32 {
    let Some(mut direct) = results(suite, ground, Way::Direct) else {
        println!("!!!! {} is SKIPPED: it is not installed", suite.name);
        return 0;
    };
    let mut pooled = through_pool(suite, ground);
    for _ in 1..TRIES {
        if different(&direct, &pooled).next().is_none() {
            break;
        }
        // Tests that depend on time may end otherwise; so may they directly.
        let again = through_pool(suite, ground);
        pooled.extend(
            again
                .into_iter()
                .filter(|(test, result)| direct.get(test) == Some(result)),
        );
        for (test, result) in results(suite, ground, Way::Direct).unwrap_or_default() {
            if pooled.get(&test) == Some(&result) {
                direct.insert(test, result);
            }
        }
    }
    let found: Vec<_> = different(&direct, &pooled).collect();
    for (test, result) in &found {
        let other = pooled.get(*test).map_or("nothing", |other| other.as_str());
        println!(
            "FAILED {} × {} [pool]: {test}: {other} instead of {result}",
            suite.name, ground.title
        );
    }
    let passed = direct.values().filter(|result| is_passed(result)).count();
    println!(
        "   {} × {}: {} tests, {passed} of which pass directly; {} end otherwise through the pool",
        suite.name,
        ground.title,
        direct.len(),
        found.len()
    );
    i32::try_from(found.len()).unwrap_or(i32::MAX) + i32::from(passed == 0)
}

fn different<'a>(
    direct: &'a BTreeMap<String, String>,
    pooled: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = (&'a String, &'a String)> {
    direct
        .iter()
        .filter(|(test, result)| pooled.get(*test) != Some(result))
}

fn is_passed(result: &str) -> bool {
    ["PASSED", "PASS", "ok"].contains(&result)
}

/// The same through the pool, with strangers.
fn through_pool(suite: &Suite, ground: &Ground) -> BTreeMap<String, String> {
    let over = Over::default();
    std::thread::scope(|scope| {
        let stranger = scope.spawn(|| strangers::run(ground, &over));
        let visit = ground.visit();
        let pooled = {
            let _over = over.at_end();
            results(suite, ground, Way::Pool).unwrap_or_default()
        };
        drop(visit);
        if let Ok(Some(complaint)) = stranger.join() {
            println!("FAILED {complaint}");
            return BTreeMap::new();
        }
        pooled
    })
}

/// The results of the tests by their names.
fn results(suite: &Suite, ground: &Ground, way: Way) -> Option<BTreeMap<String, String>> {
    for database in ["test", "test1", "test2", "gotest"] {
        ground.database(database);
    }
    let access = Access {
        port: ground.port(way),
        user: format!("a_{}", ground.plugins[0].name),
        folder: process::folder("suite"),
    };
    let command = (suite.command)(&access)?;
    let done = process::run(command, Vec::new(), PATIENCE);
    let lines = done.out();
    let all = lines.lines().filter_map(suite.result);
    let is_left_out = |test: &str| suite.excluded.iter().any(|(part, _)| test.contains(part));
    let kept = all.filter(|(test, _)| !is_left_out(test));
    let results: BTreeMap<_, _> = kept
        .map(|(test, result)| (test.to_owned(), result.to_owned()))
        .collect();
    if results.is_empty() {
        println!(
            "!! {}: {}\n{}",
            suite.name,
            process::clip(&done.stdout),
            done.err()
        );
    }
    if std::env::var_os("DPM_MATRIX_SHOW").is_some() {
        let name = format!("{}-{}-{}", suite.name, ground.title, way.name()).replace(' ', "-");
        let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&log, format!("{lines}\n{}", done.err())).expect("a file");
        println!("   {}", log.display());
    }
    Some(results)
}

/// "tests/test_x.py::Class::test PASSED [ 3%]"
fn of_pytest(line: &str) -> Option<(&str, &str)> {
    let (test, rest) = line
        .split_once(' ')
        .filter(|(test, _)| test.contains("::"))?;
    Some((test, rest.split_whitespace().next()?))
}

/// "--- PASS: TestX (0.01s)"
fn of_go(line: &str) -> Option<(&str, &str)> {
    let (result, test) = line.strip_prefix("--- ")?.split_once(": ")?;
    Some((test.split_once(" (").map_or(test, |(test, _)| test), result))
}

/// "test conn::test::x ... ok"
fn of_rust(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("test ")?.split_once(" ... ")
}

fn suites(name: &str) -> Option<PathBuf> {
    Some(client::home().join("suites").join(name)).filter(|path| path.exists())
}

fn pytest(folder: &Path, tests: &str) -> Command {
    let mut command = process::command(client::home().join("python/bin/python"));
    let options = ["-B", "-m", "pytest", "-v", "-p", "no:cacheprovider", tests];
    command.args(options).current_dir(folder);
    command
}

fn pymysql(access: &Access) -> Option<Command> {
    // Its configuration is a file among its tests.
    let folder = access.folder.join("pymysql");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(suites("pymysql")?)
        .arg(&folder)
        .status();
    assert!(copied.is_ok_and(|status| status.success()), "a copy");
    let database = |name| {
        serde_json::json!({
            "host": "127.0.0.1", "port": access.port, "user": access.user, "password": PASSWORD,
            "database": name, "use_unicode": true, "local_infile": true,
        })
    };
    let databases = serde_json::json!([database("test1"), database("test2")]).to_string();
    std::fs::write(folder.join("pymysql/tests/databases.json"), databases).expect("a file");
    let mut command = pytest(&folder, "pymysql/tests");
    command.env("PYTHONPATH", &folder);
    Some(command)
}

fn mysqlclient(access: &Access) -> Option<Command> {
    let options = access.folder.join("options.cnf");
    let text = format!(
        "[MySQLdb-tests]\nhost=127.0.0.1\nport={}\nuser={}\npassword={PASSWORD}\ndatabase=test\n\
         default-character-set=utf8mb4\n",
        access.port, access.user
    );
    std::fs::write(&options, text).expect("a file");
    let mut command = pytest(&suites("mysqlclient")?, "tests");
    command.env("TESTDB", options);
    Some(command)
}

fn go(access: &Access) -> Option<Command> {
    let mut command = process::command(suites("go-tests")?);
    command
        .args(["-test.v"])
        .current_dir("/usr/share/gocode/src/github.com/go-sql-driver/mysql")
        .env("MYSQL_TEST_USER", &access.user)
        .env("MYSQL_TEST_PASS", PASSWORD)
        .env("MYSQL_TEST_ADDR", format!("127.0.0.1:{}", access.port));
    Some(command)
}

fn mysql_crate(access: &Access) -> Option<Command> {
    let mut command = process::command(suites("mysql-crate-tests")?);
    let url = format!(
        "mysql://{}:{PASSWORD}@127.0.0.1:{}/mysql",
        access.user, access.port
    );
    command
        .args(["--test-threads=1"])
        .current_dir(&access.folder)
        .env("DATABASE_URL", url);
    Some(command)
}
