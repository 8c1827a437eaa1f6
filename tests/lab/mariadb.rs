//! The MariaDB pack: a server moves by GTID replication and comes back while an application writes
//! to it, also when the executor is killed. `read_only` and replication are a whole server's, so it
//! has a lab of its own.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::sandbox::{Sandbox, kill, repository, signal, wait_until};
use super::servers::Lab;

struct Move {
    lab: &'static Lab,
    sandbox: Sandbox,
    application: Option<Child>,
    /// One move of the two servers at a time.
    _servers: MutexGuard<'static, ()>,
}

impl Move {
    fn prepare(rows: u64) -> Move {
        static LAB: OnceLock<Lab> = OnceLock::new();
        static SERVERS: Mutex<()> = Mutex::new(());
        let servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
        let lab = LAB.get_or_init(|| Lab::of(&["mariadb-old", "mariadb-new", "haproxy"], 61..65));
        let made = Move { lab, sandbox: Sandbox::new(), application: None, _servers: servers };
        lab.mariadb("mariadb-old", "mysql", "DROP DATABASE IF EXISTS shop; CREATE DATABASE shop");
        lab.mariadb("mariadb-new", "mysql", "SET sql_log_bin = 0; DROP DATABASE IF EXISTS shop");
        let output = made
            .orders("mariadb-old", "prepare")
            .arg(rows.to_string())
            .output()
            .expect("python3, with pymysql");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        made
    }

    fn orders(&self, server: &str, verb: &str) -> Command {
        let mut command = Command::new(repository().join("runbooks/lab/orders"));
        command.args([
            verb,
            "mariadb",
            &format!("orders:lab-shop@127.0.0.1:{}/shop", self.lab.port(server)),
        ]);
        command.env("ORDERS_RATE", "200");
        command
    }

    fn begin(&mut self) {
        let log = File::create(self.sandbox.path("application.log")).unwrap();
        let mut command = self.orders("haproxy-mariadb", "write");
        command
            .arg(self.sandbox.path("record"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let record = self.sandbox.path("record");
        let length = || record.metadata().map_or(0, |found| found.len());
        let before = length();
        self.application = Some(command.spawn().unwrap());
        wait_until("the application writes", || length() > before + 4000);
    }

    /// Ends the application, and holds what it was told against a server.
    fn end_and_count(&mut self, server: &str) {
        let mut application = self.application.take().unwrap();
        signal("TERM", application.id());
        assert!(application.wait().unwrap().success());
        let output =
            self.orders(server, "count").arg(self.sandbox.path("record")).output().unwrap();
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        for wrong in ["lost", "doubled", "uncounted", "reordered", "never_sent"] {
            assert_eq!(found[wrong], 0, "{server}: {found}");
        }
        assert!(found["acknowledged"].as_u64() > Some(200), "{server}: {found}");
        println!("mariadb: {server}: {found}");
    }

    fn words(&self) -> String {
        let (book, lab) = (repository().join("runbooks/lab/mariadb.yaml"), self.lab.path(""));
        let (book, lab) = (book.display(), lab.display().to_string());
        let (old, new) = (self.lab.port("mariadb-old"), self.lab.port("mariadb-new"));
        let lab = lab.trim_end_matches('/');
        format!(
            "run {book} --yes --parallel 8 --set lab={lab} --set old_port={old} --set \
             new_port={new} --set window=1s"
        )
    }

    fn environment() -> [(&'static str, String); 2] {
        [("OLD_PASSWORD", "lab-mover".to_owned()), ("NEW_PASSWORD", "lab-mover".to_owned())]
    }

    fn run(&self, line: &str, exit: &str) -> String {
        let shown = self.sandbox.run_with(line, &Move::environment());
        assert!(shown.ends_with(exit), "{line}: {shown}");
        shown
    }

    /// How many of the kills found it alive: once it has come to its end, none does.
    fn kills_after(&self, line: &str, moments: &[u64]) -> usize {
        let lived = |milliseconds: &&u64| {
            let child = self.sandbox.start_heard(line, &Move::environment());
            std::thread::sleep(Duration::from_millis(**milliseconds));
            kill(child)
        };
        let lived = moments.iter().filter(lived).count();
        assert!(lived > 0, "{line} came to its end before it was killed");
        lived
    }

    /// Nothing of the move is left: nobody follows, everybody writes, the new server is empty.
    fn is_as_before(&self) {
        for server in ["mariadb-old", "mariadb-new"] {
            assert_eq!(
                self.lab.mariadb(
                    server,
                    "mysql",
                    "SHOW ALL SLAVES STATUS; SELECT @@GLOBAL.read_only"
                ),
                "0",
                "{server}"
            );
        }
        assert_eq!(self.lab.mariadb("mariadb-new", "mysql", "SHOW DATABASES LIKE 'shop'"), "");
    }
}

/// An application that nobody ends would write on after a test that failed.
impl Drop for Move {
    fn drop(&mut self) {
        if let Some(application) = &mut self.application {
            let _ = application.kill();
            let _ = application.wait();
        }
    }
}

#[test]
fn a_mariadb_server_moves_and_comes_back_without_losing_a_write_also_when_killed() {
    let mut shop = Move::prepare(5_000);
    shop.begin();
    shop.run(&format!("{} --dry-run", shop.words()), "exit 0");
    shop.run(&format!("{} --until quiet", shop.words()), "exit 0");
    let there = shop.kills_after("resume --yes --parallel 8", &[60, 90, 120, 150, 180, 210]);
    shop.run("resume --yes --parallel 8", "exit 3");
    std::thread::sleep(Duration::from_secs(1));
    shop.end_and_count("mariadb-new");
    shop.begin();
    let back = shop.kills_after("rollback --parallel 8", &[60, 100, 140, 180]);
    println!("mariadb: killed {there} times on its way there and {back} times back, while it ran");
    shop.run("rollback --parallel 8", "exit 4");
    shop.end_and_count("mariadb-old");
    shop.is_as_before();
}

#[test]
fn what_an_administrator_wrote_behind_the_fence_of_mariadb_is_found_and_not_lost() {
    let shop = Move::prepare(100);
    // Nothing is written between the copy and the cutover.
    shop.run(&format!("{} --until same", shop.words()), "exit 0");
    shop.lab.mariadb("mariadb-old", "shop", "INSERT INTO stock VALUES (1000, 0)");
    // The new server still follows, and has it too; if it had not, the way back would find it.
    let has_it = || {
        shop.lab.mariadb("mariadb-new", "shop", "SELECT COUNT(*) FROM stock WHERE item = 1000")
            == "1"
    };
    (0..600).take_while(|_| !has_it()).for_each(|_| std::thread::sleep(Duration::from_millis(50)));
    let shown = shop.run("resume --yes", "exit 1");
    assert!(shown.contains("nothing-behind"), "{shown}");
    shop.run("rollback --to quiet", "exit 4");
    shop.lab.mariadb("mariadb-old", "shop", "INSERT INTO stock VALUES (1001, 0)");
    // Followed again: the writes are on both sides.
    let upto = shop.lab.mariadb("mariadb-old", "mysql", "SELECT @@GLOBAL.gtid_binlog_pos");
    assert_eq!(
        shop.lab.mariadb(
            "mariadb-new",
            "mysql",
            &format!("SELECT MASTER_GTID_WAIT(REGEXP_SUBSTR('{upto}', '1-1-[0-9]+'), 60)")
        ),
        "0"
    );
    assert_eq!(
        shop.lab.mariadb("mariadb-new", "shop", "SELECT COUNT(*) FROM stock WHERE item >= 1000"),
        "2"
    );
    shop.run("rollback --force --reason over", "exit 4");
    assert_eq!(
        shop.lab.mariadb("mariadb-old", "shop", "SELECT COUNT(*) FROM stock WHERE item >= 1000"),
        "2"
    );
    shop.is_as_before();
}

#[test]
fn a_mariadb_server_that_is_not_ready_is_said_so_with_the_remedy() {
    let shop = Move::prepare(1);
    let old = |sql: &str| shop.lab.mariadb("mariadb-old", "shop", sql);
    for (make, words, mend) in [
        (
            "CREATE TABLE old_kind (id int PRIMARY KEY) ENGINE = MyISAM",
            "shop.old_kind is of MyISAM, which knows no transactions",
            "DROP TABLE old_kind",
        ),
        ("CREATE TABLE keyless (id int)", "shop.keyless has no primary key", "DROP TABLE keyless"),
        (
            "GRANT SUPER ON *.* TO orders@'127.0.0.1'",
            "may write to a server that is read-only: REVOKE SUPER",
            "REVOKE SUPER ON *.* FROM orders@'127.0.0.1'",
        ),
        (
            "SET GLOBAL sync_binlog = 0",
            "sync_binlog is 0: set it to 1",
            "SET GLOBAL sync_binlog = 1",
        ),
        (
            "SET GLOBAL gtid_domain_id = 2",
            "gtid_domain_id is 2 on both servers",
            "SET GLOBAL gtid_domain_id = 1",
        ),
        ("CREATE USER only@here", "the account only@here is missing", "DROP USER only@here"),
    ] {
        old(make);
        let shown = shop.run(&shop.words(), "exit 1");
        assert!(shown.contains(words), "{words}: {shown}");
        old(mend);
        shop.run("rollback", "exit 4");
    }
    shop.is_as_before();
}
