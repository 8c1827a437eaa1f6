//! A shop for the tests of a move: two databases, the application that writes its orders, and a
//! sandbox that moves it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::sandbox::{Sandbox, repository, signal, wait_until};
use super::servers::{Lab, lab};

/// The application, its record, and the sandbox that its database is moved from.
pub struct Shop {
    pub lab: &'static Lab,
    pub name: &'static str,
    pub sandbox: Sandbox,
    application: Option<Child>,
    /// HAProxy divides the orders of one test at a time.
    _orders: MutexGuard<'static, ()>,
}

impl Shop {
    /// With so many orders on the old server, and none on the new one.
    pub fn open(name: &'static str, rows: u64) -> Shop {
        static ORDERS: Mutex<()> = Mutex::new(());
        let orders = ORDERS.lock().unwrap_or_else(PoisonError::into_inner);
        let shop =
            Shop { lab: lab(), name, sandbox: Sandbox::new(), application: None, _orders: orders };
        shop.lab.fresh("postgres-old", name);
        shop.lab.fresh("postgres-new", name);
        shop.say("postgres-old", "prepare", &[rows.to_string()]);
        shop.say("postgres-new", "prepare", &[]);
        shop
    }

    fn address(&self, server: &str) -> String {
        format!("shop:lab-shop@127.0.0.1:{}/{}", self.lab.port(server), self.name)
    }

    fn orders(&self, server: &str, verb: &str, more: &[String]) -> Command {
        let mut command = Command::new(repository().join("runbooks/lab/orders"));
        command.args([verb, "postgres", &self.address(server)]).args(more);
        command
    }

    fn say(&self, server: &str, verb: &str, more: &[String]) -> String {
        let output = self.orders(server, verb, more).output().expect("python3, with psycopg2");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn record(&self) -> String {
        self.sandbox.path("record").display().to_string()
    }

    pub fn begin(&mut self) {
        let log = File::create(self.sandbox.path("application.log")).unwrap();
        let mut command = self.orders("haproxy", "write", &[self.record()]);
        let record = self.sandbox.path("record");
        let length = || record.metadata().map_or(0, |found| found.len());
        let before = length();
        self.application =
            Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
        wait_until("the application writes", || length() > before + 4000);
    }

    pub fn end(&mut self) {
        let Some(mut application) = self.application.take() else { return };
        signal("TERM", application.id());
        assert!(application.wait().unwrap().success());
    }

    /// What the application was told, held against a server: nothing may be wrong. The longest gap
    /// between two of these moments.
    pub fn count(&self, server: &str, since: f64, until: f64, what: &str) -> f64 {
        let found = self.found(
            server,
            &["--since".to_owned(), since.to_string(), "--until".to_owned(), until.to_string()],
        );
        for wrong in ["lost", "doubled", "uncounted", "reordered", "never_sent"] {
            assert_eq!(found[wrong], 0, "{what}: {found}");
        }
        assert!(found["acknowledged"].as_u64() > Some(500), "{what}: {found}");
        let gap = found["longest_gap"].as_f64().unwrap();
        println!(
            "flagship: {what}: {} orders acknowledged, 0 lost, 0 doubled, 0 reordered, the longest \
             gap {gap:.3} s",
            found["acknowledged"]
        );
        gap
    }

    /// All that the count says.
    pub fn found(&self, server: &str, more: &[String]) -> serde_json::Value {
        let words: Vec<String> = [self.record()].iter().chain(more).cloned().collect();
        serde_json::from_str(&self.say(server, "count", &words)).unwrap()
    }

    /// How the whole move is run.
    pub fn words(&self, window: u64) -> String {
        format!(
            "{} --set prometheus=http://127.0.0.1:{}",
            self.words_of("postgres.yaml", window),
            self.lab.port("prometheus")
        )
    }

    /// How a runbook of the lab is run.
    pub fn words_of(&self, book: &str, window: u64) -> String {
        let (old, new) = (self.lab.port("postgres-old"), self.lab.port("postgres-new"));
        let book = repository().join("runbooks/lab").join(book);
        let (book, lab, name) = (book.display(), self.lab.path(""), self.name);
        let lab = lab.display().to_string();
        let lab = lab.trim_end_matches('/');
        format!(
            "run {book} --yes --parallel 8 --set database={name} --set name={name} --set \
             window={window}s --set lab={lab} --set old_port={old} --set new_port={new}"
        )
    }

    pub fn environment() -> [(&'static str, String); 2] {
        [("OLD_PASSWORD", "lab-mover".to_owned()), ("NEW_PASSWORD", "lab-mover".to_owned())]
    }

    /// HAProxy sends orders to the old server, as at first.
    pub fn divide_as_before(&self) {
        let mut socket = UnixStream::connect(self.lab.path("haproxy/socket")).unwrap();
        socket.write_all(b"set weight orders/old 100; set weight orders/new 0\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.trim(), "");
    }

    pub fn run(&self, line: &str, exit: &str) {
        let shown = self.sandbox.run_with(line, &Shop::environment());
        assert!(shown.ends_with(exit), "{line}: {shown}");
    }

    /// Every guard of the last run has read something, nothing of it was bad, and no budget was
    /// exceeded.
    pub fn is_guarded(&self) {
        let printed = self.sandbox.run("audit --format json");
        let all: serde_json::Value =
            serde_json::from_str(printed.rsplit_once('\n').unwrap().0).unwrap();
        let events: Vec<_> =
            all["log"].as_array().unwrap().iter().map(|entry| entry["event"].clone()).collect();
        for guard in ["lag", "refused", "way-back"] {
            let read = events.iter().any(|event| {
                event["event"] == "guard_read" && event["guard"] == guard && event["says"] == "good"
            });
            assert!(read, "{guard}: {printed}");
        }
        assert!(events.iter().all(|event| event["event"] != "breached"), "{printed}");
    }

    /// Nothing of a move is on either server, but for what a test has put there.
    pub fn is_untouched(&self) {
        assert_eq!(
            self.lab.psql("postgres-old", self.name, "SELECT count(*) FROM pg_publication"),
            "0"
        );
        assert_eq!(
            (self.subscriptions("postgres-old"), self.subscriptions("postgres-new")),
            ("0".to_owned(), "0".to_owned())
        );
        assert_eq!(
            self.lab.psql("postgres-new", self.name, "SHOW default_transaction_read_only"),
            "off"
        );
    }

    /// How many subscriptions the database has on a server.
    pub fn subscriptions(&self, server: &str) -> String {
        let count = "SELECT count(*) FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid \
            WHERE datname = current_database()";
        self.lab.psql(server, self.name, count)
    }

    /// Nothing of the move is left on a server.
    pub fn is_tidy(&self, server: &str) {
        let name = self.name;
        let left = format!(
            "SELECT (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM \
             pg_replication_slots WHERE slot_name LIKE '{name}%') + (SELECT count(*) FROM \
             pg_subscription s JOIN pg_database d ON d.oid = subdbid WHERE datname = '{name}') + \
             (SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase \
             WHERE datname = '{name}')"
        );
        assert_eq!(self.lab.psql(server, name, &left), "0", "{server}");
    }
}

/// An application that nobody ends would write on after a test that failed.
impl Drop for Shop {
    fn drop(&mut self) {
        if let Some(application) = &mut self.application {
            let _ = application.kill();
            let _ = application.wait();
        }
    }
}
