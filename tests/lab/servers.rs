//! The lab of these tests, and sandboxes that know their way to it.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::sandbox::{Sandbox, repository};

pub struct Lab {
    folder: PathBuf,
    pub first_port: u16,
    /// It ends when this one's standard input does, at the end of the tests at the latest.
    _held: Child,
}

/// The one lab of all tests here, but for those that need a server for themselves.
pub fn lab() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(|| Lab::of(&[], 20..60))
}

/// The web servers behind HAProxy and nginx, for one test at a time, once Prometheus knows enough
/// of them.
pub fn web() -> MutexGuard<'static, ()> {
    static WEB: Mutex<()> = Mutex::new(());
    let web = WEB.lock().unwrap_or_else(PoisonError::into_inner);
    let url = format!("http://127.0.0.1:{}/api/v1/query", lab().port("prometheus"));
    let begun = Instant::now();
    loop {
        let query = "query=count_over_time(haproxy_process_uptime_seconds[10s]) > 2";
        let output = Command::new("curl")
            .args(["-s", "-G", &url, "--data-urlencode", query])
            .output()
            .expect("curl");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if said.contains("haproxy") {
            return web;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "Prometheus has not read HAProxy: {said}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn script() -> PathBuf {
    repository().join("runbooks/lab/lab")
}

fn is_free(port: u16) -> bool {
    (0..20).all(|at| TcpListener::bind(("127.0.0.1", port + at)).is_ok())
}

impl Lab {
    /// A lab of these servers, or of all, at a port of these thousands.
    pub fn of(servers: &[&str], thousands: Range<u16>) -> Lab {
        Lab::at(servers, thousands.map(|at| at * 1000 + std::process::id() as u16 % 500))
    }

    /// The same, at the first of these ports from which on twenty are free.
    pub fn at(servers: &[&str], mut ports: impl Iterator<Item = u16>) -> Lab {
        let port = ports.find(|&port| is_free(port)).expect("twenty free ports");
        let folder =
            std::env::temp_dir().join(format!("switchover-lab-{}-{port}", std::process::id()));
        let mut command = Command::new(script());
        command.arg("hold").args(servers).env("LAB", &folder).env("LAB_PORT", port.to_string());
        let mut held =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the lab");
        let mut said = String::new();
        BufReader::new(held.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(
            said, "ready\n",
            "the lab did not begin; `runbooks/lab/lab install` installs what it needs"
        );
        Lab { folder, first_port: port, _held: held }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Lets a script of a platform find this lab.
    pub fn known_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("LAB", &self.folder).env("LAB_PORT", self.first_port.to_string())
    }

    pub fn port(&self, name: &str) -> u16 {
        let output = Command::new(script())
            .args(["port", name])
            .env("LAB_PORT", self.first_port.to_string())
            .output()
            .unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("there is no {name} in the lab"))
    }

    /// A sandbox with this runbook, in which `PORT(name)` and `LAB` stand for the lab's; the secret
    /// is in `SHOP_PASSWORD`.
    pub fn sandbox(&self, runbook: &str) -> Sandbox {
        Sandbox::with(&self.filled(runbook))
    }

    pub fn filled(&self, text: &str) -> String {
        let port = |found: &regex::Captures| self.port(&found[1]).to_string();
        let text = regex::Regex::new(r"PORT\(([a-z0-9-]+)\)")
            .unwrap()
            .replace_all(text, port)
            .into_owned();
        text.replace("LAB", &self.folder.display().to_string())
    }

    /// What `psql` says to a query, as the administrator.
    pub fn psql(&self, server: &str, database: &str, query: &str) -> String {
        let output = Command::new("psql")
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-h",
                "127.0.0.1",
                "-U",
                "postgres",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                database,
                "-c",
                query,
            ])
            .args(["-p", &self.port(server).to_string()])
            .output()
            .expect("psql");
        assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// What `mariadb` says to statements, as the administrator.
    pub fn mariadb(&self, server: &str, database: &str, statements: &str) -> String {
        let socket = self.path(server).join("socket");
        let output = Command::new("mariadb")
            .args([
                "--no-defaults",
                "--default-character-set=utf8mb4",
                "-u",
                "root",
                "-N",
                "-B",
                "-S",
            ])
            .arg(socket)
            .args([database, "-e", statements])
            .output()
            .expect("mariadb");
        assert!(
            output.status.success(),
            "{statements}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A new, empty database on a PostgreSQL server, which belongs to the user `shop`.
    pub fn fresh(&self, server: &str, name: &str) {
        // Two databases cannot be made from one template at once.
        static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _one = ONE.lock();
        self.psql(server, "postgres", &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        self.psql(server, "postgres", &format!("CREATE DATABASE {name} OWNER shop"));
    }
}
