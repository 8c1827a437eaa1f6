//! Arbor and Kumori: a release by canary, of which the first answers with errors at a quarter of
//! the visitors and is taken back, and the second is out. And the failover of a region, with its
//! way home.

use std::time::{Duration, Instant};

use super::super::sandbox::signal;
use super::Platform;

const SERVERS: &[&str] =
    &["postgres-old", "postgres-new", "dns-1", "nginx", "haproxy", "prometheus"];

#[test]
fn arbor_and_kumori_release_goes_back_from_errors_and_the_next_one_is_out() {
    let arbor = arbor(109..123);
    let run = arbor.line("deploy.yaml");

    arbor.is_dry(&run);
    let shown = arbor.say(&run);
    assert!(shown.ends_with("exit 3"), "{shown}");
    assert!(arbor.say("resolve migrate-go --as go --reason lab").ends_with("exit 0"));
    let child = arbor.begin("resume --yes");
    let begun = Instant::now();
    while arbor.weight("new") < 25 {
        assert!(begun.elapsed() < Duration::from_secs(120), "{}", arbor.sandbox.read("said"));
        std::thread::sleep(Duration::from_millis(50));
    }
    arbor.answers("return 500;");
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(4), "{}", arbor.sandbox.read("said"));
    arbor.has_told(&[
        "Arbor and Kumori: the release is taken back",
        "Arbor and Kumori: the release was taken back",
    ]);
    arbor.is_as_before();

    arbor.answers("");
    let (asked, shown) = arbor.through(&run, |_| "--as go");
    assert!(shown.ends_with("exit 0"), "{shown}");
    assert_eq!(asked, ["migrate-go"]);
    assert_eq!(
        (arbor.weight("old"), arbor.weight("new"), arbor.visit()),
        (0, 100, "new".to_owned())
    );
    assert_eq!(arbor.told("vercel")["production"], "https://lab-new1.vercel.app");
    for region in ["us-east-1", "eu-west-1", "ap-southeast-1"] {
        assert_eq!(
            arbor.told("kubectl")[format!("lab-{region}-arbor-api")],
            "arbor/api:v2026.11.0",
            "{region}"
        );
    }
    assert_eq!(
        arbor.lab.psql(
            "postgres-old",
            "shop",
            "SELECT (SELECT count(*) FROM arbor.agents) + (SELECT count(*) FROM kumori.images)"
        ),
        "3000"
    );
    arbor.has_told(&[
        "Arbor and Kumori: the new release has all the traffic",
        "Released: Arbor and Kumori",
        "Arbor and Kumori: the release is out",
    ]);

    let shown = arbor.say("rollback --yes");
    assert!(shown.ends_with("exit 4"), "{shown}");
    assert_eq!(arbor.told("kubectl")["lab-us-east-1-arbor-api"], "arbor/api:v2026.10.0");
    arbor.is_as_before();
}

#[test]
fn arbor_and_kumori_leave_a_region_that_has_failed_and_come_home() {
    let arbor = arbor(165..179);
    let run = arbor.line("failover.yaml");
    arbor.is_dry(&run);
    assert_eq!(arbor.dig("shop.example.test", "A"), "192.0.2.10");

    let (asked, shown) = arbor.through(&run, |_| "--as done");
    assert!(shown.ends_with("exit 0"), "{shown}");
    assert!(asked.is_empty(), "{asked:?}: what has failed is left without a word");
    assert_eq!(arbor.dig("shop.example.test", "A"), "192.0.2.20");
    assert_eq!(
        (arbor.weight("old"), arbor.weight("new"), arbor.visit()),
        (0, 100, "new".to_owned())
    );

    // The database is brought home first; then the region has to answer, which it does only while
    // the failback waits for it.
    let shown = arbor.say("rollback --yes");
    assert!(shown.ends_with("exit 3") && shown.contains("takes-writes"), "{shown}");
    arbor.answer("takes-writes", "--as done");
    let failback = arbor.begin("rollback --yes");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(
        (arbor.dig("shop.example.test", "A").as_str(), arbor.weight("old")),
        ("192.0.2.20", 0)
    );
    arbor.primary_lives();
    let ended = failback.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(4), "{}", arbor.sandbox.read("said"));
    assert_eq!(arbor.dig("shop.example.test", "A"), "192.0.2.10");
    assert_eq!(
        (arbor.weight("old"), arbor.weight("new"), arbor.visit()),
        (100, 0, "old".to_owned())
    );
}

/// With its rows, and a replica that has just heard from its primary.
fn arbor(hundreds: std::ops::Range<u16>) -> Platform {
    let mut arbor = Platform::with("arbor-kumori", SERVERS, hundreds);
    arbor.prepare("lab/prepare");
    arbor.take_secrets("lab/secrets.sh");
    arbor
}

impl Platform {
    /// How a runbook of the folder is begun; its ports are told by their hundred.
    fn line(&self, book: &str) -> String {
        let (lab, hundred) = (self.lab.path("").display().to_string(), self.lab.first_port / 100);
        format!(
            "run runbooks/arbor-kumori/{book} --env lab --set lab={} --set ports={hundred} --yes",
            lab.trim_end_matches('/')
        )
    }

    /// The region that had failed answers again.
    fn primary_lives(&self) {
        self.sandbox.write("home/api/health", "ok");
        let mut command = std::process::Command::new(
            super::super::sandbox::repository().join("runbooks/lab/lab"),
        );
        command.args([
            "beside",
            "home",
            "/usr/bin/python3",
            "-m",
            "http.server",
            &self.lab.port("application").to_string(),
        ]);
        command.args(["--bind", "127.0.0.1", "--directory"]).arg(self.sandbox.path("home"));
        assert!(self.lab.known_to(&mut command).status().unwrap().success());
    }

    /// What the new side answers to everything from now on: a line of nginx, or as usual.
    fn answers(&self, line: &str) {
        std::fs::write(self.lab.path("nginx/new.conf"), line).unwrap();
        let nginx = std::fs::read_to_string(self.lab.path("nginx.pid")).unwrap();
        signal("HUP", nginx.trim().parse().unwrap());
    }

    fn is_as_before(&self) {
        assert_eq!(
            (self.weight("old"), self.weight("new"), self.visit()),
            (100, 0, "old".to_owned())
        );
        let vercel = self.told("vercel");
        assert_ne!(vercel["production"], "https://lab-new1.vercel.app", "{vercel}");
        assert_eq!(vercel["green.arbor.example.com"], "", "{vercel}");
        // Migrations only ever add: every row stays.
        let rows =
            "SELECT (SELECT count(*) FROM arbor.agents) + (SELECT count(*) FROM kumori.images)";
        assert_eq!(self.lab.psql("postgres-old", "shop", rows), "3000");
    }
}
